"""Reads what a client sent, from plain values: ids, bodies, conditions.

Nothing here knows a web framework; a value that cannot be accepted raises one of
:mod:`aims_server.errors`.
"""

import random
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec

from ..errors import InvalidRequest, TooLarge, UnsupportedMediaType
from ..primitives import whole_number

__all__ = [
    "MAX_BODY_BYTES",
    "LoginRequest",
    "SubjectRequest",
    "TokenRequest",
    "accepts_gzip",
    "check_body",
    "form_object",
    "json_object",
    "preferred_media",
    "quality",
    "query_object",
    "request_id",
    "wants_fresh",
]

MAX_BODY_BYTES: Final = 64 * 1024
_MAX_FIELD: Final = 512
_MAX_DEPTH: Final = 32
# What a field that is missing or of another type is told as: to a student, not by a
# parser.
_SENTENCES: Final = {
    "username": "A user name is needed.",
    "password": "A password is needed.",
    "token": "A valid token is needed.",
    "subject": "The name of a subject is needed.",
    "studentId": "The number of a student is needed.",
    "cfId": "The number of a course file is needed.",
}
_FIELD_AT_FAULT: Final = r"field `(\w+)`|at `\$\.(\w+)`"
_TOO_DEEP: Final = "The request's body is nested too deep."
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_WEIGHT: Final = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_JSON_TYPES: Final = frozenset({"", "application/json", "text/json"})
_TRIMMED: Final = frozenset({"username", "subject"})
_FORM_TYPE: Final = "application/x-www-form-urlencoded"


class LoginRequest(msgspec.Struct):
    """``POST /api/login``; some frontends send a user name of digits as a number."""

    username: str | int | float
    password: str

    def user_name(self) -> str:
        """The user name as it is sent on; raises :class:`InvalidRequest` for none."""
        name = self.username
        if isinstance(name, float) and name.is_integer():
            name = int(name)  # in JSON 7.0 is the number 7
        name = str(name).strip()
        if not name:
            raise InvalidRequest(_SENTENCES["username"])
        return name


class TokenRequest(msgspec.Struct):
    """``POST /api/attendance``."""

    token: str


class SubjectRequest(msgspec.Struct, rename="camel"):
    """``/api/subject-attendance``; ids may be numbers or their decimal text, because
    both are met in the old frontend.
    """

    subject: str
    student_id: int | float | str
    cf_id: int | float | str
    token: str | None = None

    def ids(self) -> tuple[int, int]:
        """``(student id, course-file id)``; raises :class:`InvalidRequest`."""
        return (
            _id("studentId", self.student_id),
            _id("cfId", self.cf_id),
        )


Shape = TypeVar("Shape", bound=msgspec.Struct)


def request_id(offered: str | None) -> str:
    """The client's request id if it is well formed, else a new one."""
    if offered is not None and _REQUEST_ID.fullmatch(offered):
        return offered
    return f"{random.getrandbits(64):016x}"  # a name, not a secret


def check_body(body: bytes, content_encoding: str | None) -> None:
    """Raise for a body that is too large, or compressed (never unpacked here)."""
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge
    if content_encoding and content_encoding.strip().lower() != "identity":
        raise UnsupportedMediaType("A compressed request body is not read here.")


def json_object(body: bytes, content_type: str | None, shape: type[Shape]) -> Shape:
    """The JSON object of a body as ``shape``; raises :class:`InvalidRequest` or
    :class:`UnsupportedMediaType`.
    """
    if _media_type(content_type) not in _JSON_TYPES:
        raise UnsupportedMediaType("The request's body must be JSON.")
    return _decoded(body, shape)


def form_object(body: bytes, content_type: str | None, shape: type[Shape]) -> Shape:
    """Like :func:`json_object`, for endpoints that take urlencoded forms as well."""
    if _media_type(content_type) != _FORM_TYPE:
        return json_object(body, content_type, shape)
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=16
        )
    except ValueError as fault:
        raise InvalidRequest("The form is not well formed.") from fault
    return query_object(dict(pairs), shape)


def query_object(fields: dict[str, Any], shape: type[Shape]) -> Shape:
    """Named fields as ``shape``; raises :class:`InvalidRequest`."""
    try:
        return _checked(msgspec.convert(fields, shape))
    except msgspec.ValidationError as fault:
        found = re.search(_FIELD_AT_FAULT, str(fault))
        field = (found[1] or found[2]) if found else ""
        raise InvalidRequest(_SENTENCES.get(field)) from fault


@lru_cache(64)  # browsers send one of a few values
def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether gzip is acceptable and preferred to the plain form, or equal to it
    (RFC 9110 12.5.3; ``q=0`` is a refusal).

    >>> accepts_gzip("br, gzip;q=0.5"), accepts_gzip("gzip;q=0.5, *")
    (True, False)
    """
    if not accept_encoding:
        return False
    weights: dict[str, float] = {}
    for element in accept_encoding.lower().split(","):
        coding, _, parameter = element.partition(";")
        weights[coding.strip()] = _weight(parameter.strip())
    others = weights.get("*", 0.0)
    gzip = weights.get("gzip", weights.get("x-gzip", others))
    return 0 < gzip >= weights.get("identity", others)


@lru_cache(64)  # browsers send one of a few values
def quality(accept: str | None, media_type: str) -> float:
    """The weight that ``Accept`` gives a media type, by the most precise range that has
    it (RFC 9110 12.5.1); without the header it is 1.

    A range with parameters has the type if it has them too, or if they say that it is
    UTF-8, as all our texts are.

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
    for element in accept.lower().replace('"', "").split(","):
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
    """Which of these media types ``Accept`` asks for in place of JSON, None for JSON.

    Only one that is named is asked for; of equal weight, before JSON that is not.

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


def _decoded(body: bytes, shape: type[Shape]) -> Shape:
    try:
        # Not into the shape at once: msgspec skips unknown fields without validating
        # them, and a body that is no valid JSON or no UTF-8 must not pass.
        body.decode()
        whole = msgspec.json.decode(body)
    except RecursionError:
        raise InvalidRequest(_TOO_DEEP) from None
    except ValueError as fault:
        raise InvalidRequest("The request's body is not valid JSON.") from fault
    if not isinstance(whole, dict):
        raise InvalidRequest("The request's body must be a JSON object.")
    if _is_deeper(whole, _MAX_DEPTH):
        raise InvalidRequest(_TOO_DEEP)
    return query_object(whole, shape)


def _is_deeper(value: dict[str, Any], levels: int) -> bool:
    level: list[Any] = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _checked(request: Shape) -> Shape:
    """Bound every text field, and refuse control characters outright."""
    for name in request.__struct_fields__:
        text = getattr(request, name)
        limit = 4096 if name == "token" else _MAX_FIELD
        if isinstance(text, str) and name in _TRIMMED:
            text = text.strip()  # as it is used
        if isinstance(text, str) and (
            len(text) > limit or any(c < " " or c == "\x7f" for c in text)
        ):
            raise InvalidRequest(
                "A text in the request is too long, or holds characters that cannot "
                "be shown."
            )
    return request


def _id(name: str, value: float | str) -> int:
    if isinstance(value, str):
        number = whole_number(value)
    else:
        number = int(value) if value == int(value) else None  # in JSON 5.0 is 5
    if number is None or not 0 < number < 10**18:
        raise InvalidRequest(_SENTENCES[name])
    return number


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _weight(parameter: str) -> float:
    if not parameter:
        return 1.0
    match = _WEIGHT.fullmatch(parameter)
    return float(match.group(1)) if match else 0.0
