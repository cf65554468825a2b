"""Reads which answers a client accepts: coding, media type and age."""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final

__all__ = ["accepts_gzip", "preferred_media", "quality", "wants_fresh"]

# Of each header. A browser sends 150; 32 KiB of commas would hold the loop for 18 ms.
_MOST_CHARACTERS: Final = 2048
_QUOTED: Final = r'"(?:[^"\\]|\\.?)*"?'
_WEIGHT: Final = r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)"


@lru_cache(64)  # browsers send one of a few values
def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether gzip is acceptable and no worse than the plain form (RFC 9110 12.5.3;
    ``q=0`` is a refusal). Only the first 2048 characters are read.

    >>> accepts_gzip("br, gzip;q=0.5"), accepts_gzip("gzip;q=0.5, *")
    (True, False)
    """
    if not accept_encoding:
        return False
    weights: dict[str, float] = {}
    for element in accept_encoding[:_MOST_CHARACTERS].lower().split(","):
        coding, _, parameter = element.partition(";")
        weights[coding.strip()] = _weight(parameter.strip())
    others = weights.get("*", 0.0)
    gzip = weights.get("gzip", weights.get("x-gzip", others))
    return 0 < gzip >= weights.get("identity", others)


@lru_cache(64)  # browsers send one of a few values
def quality(accept: str | None, media_type: str) -> float:
    """The weight that ``Accept`` gives a media type, by the most precise range that
    matches (RFC 9110 12.5.1); without the header it is 1.

    A range with parameters matches a type that has them too; ``charset=utf-8`` always
    matches, since all our texts are UTF-8. Only the first 2048 characters are read.

    >>> quality("application/json;q=0, text/*", "text/plain")
    1.0
    >>> quality("application/json;q=0, text/*", "application/json")
    0.0
    >>> quality("text/plain;version=1;q=0.5, text/*;q=0.1", "text/plain;version=2")
    0.1
    """
    if accept is None:
        return 1.0
    name, *own = media_type.split(";")
    ranges = ("*/*", f"{name.partition('/')[0]}/*", name)
    found = (-1, 0)
    weight = 0.0
    read = accept[:_MOST_CHARACTERS].lower()
    for element in re.sub(_QUOTED, _unquoted, read).split(","):
        offered, *parameters = map(str.strip, element.split(";"))
        named = [each for each in parameters if not each.startswith("q=")]
        if offered in ranges and {*named} <= {*own, "charset=utf-8"}:
            precision = ranges.index(offered), len(named)
            if precision >= found:
                found = precision
                weights = [each for each in parameters if each.startswith("q=")]
                weight = _weight(weights[0]) if weights else 1.0
    return weight


def preferred_media(accept: str | None, others: Collection[str]) -> str | None:
    """The media type of ``others`` that ``Accept`` asks for in place of JSON, or None.

    A type must be named to be asked for. At equal weight it is preferred to JSON that
    is not named.

    >>> preferred_media("text/calendar, */*;q=0.5", ["text/calendar"])
    'text/calendar'
    >>> preferred_media("*/*", ["text/calendar"])
    """
    if not accept or not others:
        return None
    wanted = accept.lower()
    named = [media for media in others if media in wanted]
    best = max(named, key=lambda media: quality(accept, media), default=None)
    if best is None:
        return None
    weight, of_json = quality(accept, best), quality(accept, "application/json")
    if weight == of_json and "application/json" in wanted:
        return None
    return best if 0 < weight >= of_json else None


def wants_fresh(cache_control: str | None) -> bool:
    """Whether the client asked for a fresh answer (``Cache-Control: no-cache``)."""
    if not cache_control:
        return False
    directives = {part.strip().lower() for part in cache_control.split(",")}
    return not directives.isdisjoint({"no-cache", "max-age=0"})


def _unquoted(quoted: re.Match[str]) -> str:
    """A quoted text, without characters that would end a parameter or an element."""
    return re.sub('[",;]', "", quoted[0])


def _weight(parameter: str) -> float:
    if not parameter:
        return 1.0
    match = re.fullmatch(_WEIGHT, parameter)
    return float(match.group(1)) if match else 0.0
