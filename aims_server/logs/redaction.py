"""Removes secrets from log fields: tokens, passwords and PINs, recognised by their form
or by the name before them. The result can be encoded as JSON and UTF-8.
"""

import re
from typing import Any, Final

__all__ = ["SCALARS", "may_hold_secret", "redact", "redact_text"]

SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_MAX_DEPTH: Final = 8

_NAME: Final = r"\w*(?:token|password|passwd|secret|authorization)|pin"
_SECRETS: Final = rf"""
      (?-i:eyJ) [\w%.+/=-]{{6,}}
    | (?P<scheme> \bbearer\s+ ) [^\s"',;]+
    | (?P<query> \b(?:{_NAME}) (?:=|%3d) ) [^\s&]+
    | (?P<pair> (?P<quote>["']) (?:{_NAME}) (?P=quote) \s*:\s* )
      (?: b?"(?:[^"\\]|\\.)*"? | b?'(?:[^'\\]|\\.)*'? | [^\s,}}\]]+ )
"""
_HINTS: Final = re.compile("eyj|bearer|token|passw|pin|secret|authoriz")


def may_hold_secret(text: str) -> bool:
    """Whether a text may hold a secret: a cheap test before the search."""
    return _HINTS.search(text.lower()) is not None


def redact(value: Any, depth: int = 0) -> Any:
    """``value`` without secrets, in types that JSON has.

    >>> redact({"password": "x", "note": "token=abc&n=1"})
    {'password': '***', 'note': 'token=***&n=1'}
    """
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        if depth < _MAX_DEPTH:
            return {
                redact_text(str(key)): (
                    "***"
                    if re.fullmatch(_NAME, str(key), re.IGNORECASE)
                    else redact(item, depth + 1)
                )
                for key, item in value.items()
            }
    elif isinstance(value, list | tuple | set | frozenset):
        if depth < _MAX_DEPTH:
            return [redact(item, depth + 1) for item in value]
    elif type(value) in SCALARS:
        return value
    elif isinstance(value, bytes | bytearray):
        return redact_text(value.decode(errors="backslashreplace"))
    return redact_text(str(value))


def redact_text(text: str) -> str:
    """``text`` without secrets and without characters that UTF-8 cannot encode."""
    text = text.encode(errors="backslashreplace").decode()
    return re.sub(_SECRETS, _without_value, text, flags=re.IGNORECASE | re.VERBOSE)


def _without_value(match: re.Match[str]) -> str:
    kept = match["scheme"] or match["query"] or match["pair"] or ""
    return f"{kept}***"
