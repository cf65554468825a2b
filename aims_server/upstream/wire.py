"""The platform's answers as it sends them: its field names, its loose numbers.

Only `models` reads this module. What is decoded here has the known fields with known
kinds of values; what is unknown is skipped. The facts are docs/platform.rst 1 to 3.
"""

import re
from typing import Annotated, Final, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

__all__ = [
    "LOGIN",
    "QUIZZES",
    "RECORDS",
    "ROWS",
    "BadShape",
    "Envelope",
    "Failure",
    "Login",
    "Naming",
    "Quiz",
    "Record",
    "Response",
    "Row",
    "Scalar",
    "Summary",
    "decode",
    "label",
    "percent",
    "percent_of",
    "refuses_token",
    "whole",
]

_LARGEST: Final = 2**53 - 1  # the largest whole number a browser's JSON keeps exact

# Numbers come as text and text as numbers, so either is taken for either.
Scalar: TypeAlias = (
    Annotated[int, Meta(ge=0, le=_LARGEST)]
    | Annotated[float, Meta(ge=0, le=_LARGEST)]
    | str
    | None
)


class BadShape(ValueError):
    """The platform sent something other than what it is known to send.

    The text says what and where, and quotes no value, so it may be logged.
    """


class Summary(Struct, frozen=True, gc=False):
    """`attendance_summary` of a row."""

    # Required but nullable: a sum over no rows is null, yet a summary without
    # these keys is not one, and reading it as zeros would be inventing figures.
    present: Scalar = msgspec.field(name="Present")
    total: Scalar = msgspec.field(name="Total")
    absent: Scalar = msgspec.field(name="Absent", default=None)
    leave: Scalar = msgspec.field(name="Leave", default=None)
    exempt: Scalar = msgspec.field(name="Exempt", default=None)
    percent: Scalar = msgspec.field(name="Percent", default=None)


class Naming(Struct, frozen=True, gc=False):
    """`cdata` of a row."""

    course_code: Scalar = None
    course_name: Scalar = None


class Row(Struct, frozen=True, gc=False):
    """A course file, or the Total row."""

    cdata: Naming
    attendance_summary: Summary
    id: Scalar = None
    student_id: Scalar = None
    batch: Scalar = None
    section: Scalar = None
    dept: Scalar = None


class Record(Struct, frozen=True, gc=False):
    """One class of a course."""

    state: str | None = None
    # A database's status flag is a number; it matters only where it is the mark.
    status: Scalar = None
    start_time: str | None = None
    date_formatted: str | None = None


class Quiz(Struct, frozen=True, gc=False):
    """One evaluated quiz, only ever checked."""

    sl_num: Scalar = None
    quiz_uc: Scalar = None
    quiz_link: str | None = None
    master_course_code: Scalar = None
    student_name: str | None = None
    roll_number: Scalar = None
    admission_number: Scalar = None
    marks_obtained: Scalar = None
    correct: Scalar = None
    incorrect: Scalar = None
    not_attempted: Scalar = None
    loggedin_at: str | None = None
    status: Scalar = None


class Login(Struct, frozen=True):
    """An answer to a login; a token that is no text is simply none."""

    token: object = None


class Failure(Struct, frozen=True):
    """An answer that may be a refusal: the texts that clients read it from."""

    msg: object = None
    message: object = None
    error: object = None
    response: object = None


_T = TypeVar("_T")


class Response(Struct, Generic[_T], frozen=True):
    """The inner half of the envelope."""

    data: list[_T]


class Envelope(Struct, Generic[_T], frozen=True):
    """What every list of rows comes in."""

    response: Response[_T]


ROWS: Final = msgspec.json.Decoder(Envelope[Row])
RECORDS: Final = msgspec.json.Decoder(Envelope[Record])
QUIZZES: Final = msgspec.json.Decoder(Envelope[Quiz])
LOGIN: Final = msgspec.json.Decoder(Login)
_FAILURE: Final = msgspec.json.Decoder(Failure)

# The wordings of tymon/jwt-auth, whose tokens these are, and close ones. The bare
# word "token" would also be in "Unexpected token < in JSON".
_REFUSAL: Final = re.compile(
    r"\b(token|session)\b.*\b(expired|invalid|revoked|blacklisted|absent|missing|not)\b"
    r"|\b(expired|invalid|missing|revoked) (\w+ )?(token|session)\b"
    r"|\bunauthenticated\b|\bunauthori[sz]ed\b|\buser not found\b",
    re.IGNORECASE,
)


def decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    """Decode all of `body`, whatever it is, or raise BadShape."""
    try:
        body.decode()  # msgspec does not look into the text of fields it skips
        return decoder.decode(body)
    except UnicodeDecodeError as exc:
        fault = f"not UTF-8 (byte {exc.start})"
    except RecursionError:
        fault = "nested too deep"
    except ValueError as exc:
        fault = str(exc)
    # Raised out here so that the cause, which may hold the body, is not kept.
    raise BadShape(fault)


def refuses_token(body: bytes) -> bool:
    """Say whether an answer without rows tells that the token is not accepted.

    The platform's wording is not known: see `_REFUSAL`. Raises nothing.
    """
    try:
        failure = decode(_FAILURE, body)
    except BadShape:
        return False
    response = failure.response
    if isinstance(response, dict) and isinstance(response.get("data"), list):
        return False
    texts = (failure.msg, failure.message, failure.error)
    return any(
        isinstance(text, str) and _REFUSAL.search(text[:200].replace("_", " "))
        for text in texts
    )


def whole(value: Scalar) -> int | None:
    """Return the whole number that was meant, None for null or blank text."""
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        if len(text) <= 16 and text.isascii() and text.isdecimal():
            value = int(text)
    if value is None or (isinstance(value, int) and value <= _LARGEST):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise BadShape("not a whole number where one belongs")


def label(value: Scalar) -> str:
    """Return one line of text: trimmed, every inner white space one blank."""
    if isinstance(value, float):
        value = whole(value)
    return "" if value is None else " ".join(str(value).split())


def percent(value: Scalar) -> str | None:
    """Return the platform's own text, or its number in the platform's wording."""
    if isinstance(value, str):
        return value.strip() or None
    return None if value is None else _short(f"{value:.2f}")


def percent_of(present: int, total: int) -> str:
    """Word a share as the platform does: 13 of 19 is "68.42%", 4 of 5 is "80%".

    Rounded half up to two decimals, trailing zeros dropped; of no classes "0%".
    """
    hundredths = (20_000 * present + total) // (2 * total) if total else 0
    return _short(f"{hundredths // 100}.{hundredths % 100:02}")


def _short(decimals: str) -> str:
    return decimals.rstrip("0").rstrip(".") + "%"
