"""Reads what a client sent: bodies, queries, request ids.

Knows no web framework. An unacceptable value raises one of :mod:`aims_server.errors`.
"""

import random
import re
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec

from ..errors import InvalidRequest, TooLarge, UnsupportedCoding, UnsupportedMediaType
from ..primitives import whole_number

__all__ = [
    "MAX_BODY_BYTES",
    "LoginRequest",
    "SubjectRequest",
    "TokenRequest",
    "check_body",
    "form_object",
    "json_object",
    "query_object",
    "request_id",
]

MAX_BODY_BYTES: Final = 64 * 1024
_MAX_FIELD: Final = 512
_MAX_DEPTH: Final = 32
# In a form. Four for each character of a user name and a password are the most that
# can be needed; as many as a body has room for would hold the event loop for 16 ms.
_MOST_ESCAPES: Final = 10 * _MAX_FIELD
# The message for a field that is missing or has a wrong type, fit for a student.
_SENTENCES: Final = {
    "username": "A user name is needed.",
    "password": "A password is needed.",
    "token": "A valid token is needed.",
    "subject": "The name of a subject is needed.",
    "studentId": "The number of a student is needed.",
    "cfId": "The number of a course file is needed.",
}
_FIELD_AT_FAULT: Final = r"field `(\w+)`|at `\$\.(\w+)`"
_BAD_FORM: Final = "The form is not well formed."
_TOO_DEEP: Final = "The request's body is nested too deep."
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JSON_TYPES: Final = frozenset({"", "application/json", "text/json"})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_TRIMMED: Final = frozenset({"username", "subject"})
# White space, and what is copied along unseen: spaces of no width, marks of direction.
_BLANK: Final = r"\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"
# Not `sub` of blanks before the end: it would look for the end from each blank, which
# takes 26 s for a body of blanks.
_WITHIN_BLANKS: Final = rf"(?s)[{_BLANK}]*(.*[^{_BLANK}])?"
_FORM_TYPE: Final = "application/x-www-form-urlencoded"


class LoginRequest(msgspec.Struct):
    """``POST /api/login``. Some frontends send a user name of digits as a number."""

    username: str | int | float
    password: str

    def user_name(self) -> str:
        """The user name as it is sent on; raises :class:`InvalidRequest` if empty."""
        name = self.username
        if isinstance(name, float) and name.is_integer():
            name = int(name)  # in JSON 7.0 is the number 7
        if name == "":
            raise InvalidRequest(_SENTENCES["username"])
        return str(name)


class TokenRequest(msgspec.Struct):
    """``POST /api/attendance``."""

    token: str


class SubjectRequest(msgspec.Struct, rename="camel"):
    """``/api/subject-attendance``. The old frontend sends ids as numbers and as decimal
    text.
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
    """Raise for a body that is too large, or compressed: none is unpacked here."""
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge
    if content_encoding and content_encoding.strip().lower() != "identity":
        raise UnsupportedCoding


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
    if body.count(b"%") > _MOST_ESCAPES:
        raise InvalidRequest(_BAD_FORM)
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=16
        )
    except ValueError as fault:
        raise InvalidRequest(_BAD_FORM) from fault
    return query_object(dict(pairs), shape)


def query_object(fields: dict[str, Any], shape: type[Shape]) -> Shape:
    """Named fields as ``shape``; raises :class:`InvalidRequest`."""
    try:
        return _checked(msgspec.convert(fields, shape))
    except msgspec.ValidationError as fault:
        found = re.search(_FIELD_AT_FAULT, str(fault))
        field = (found[1] or found[2]) if found else ""
        raise InvalidRequest(_SENTENCES.get(field)) from fault


def _decoded(body: bytes, shape: type[Shape]) -> Shape:
    try:
        # Not into the shape at once: msgspec does not validate the fields it skips, and
        # only valid JSON in UTF-8 may pass.
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
    """Trim names, bound every text field, and refuse control characters outright."""
    for name in request.__struct_fields__:
        text = getattr(request, name)
        limit = 4096 if name == "token" else _MAX_FIELD
        if isinstance(text, str) and name in _TRIMMED:
            found = re.match(_WITHIN_BLANKS, text)
            text = (found and found[1]) or ""
            setattr(request, name, text)
        if isinstance(text, str) and (len(text) > limit or _CONTROL.search(text)):
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
