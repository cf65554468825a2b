"""What a token looks like, where a request has it, and what it claims.

Claims are read, never verified: the platform alone holds the key. They may narrow what
a token can do here (its own student, its own end), never widen it.
"""

import base64
import re
from typing import Final

import msgspec

from ..errors import InvalidRequest, Unauthorized
from ..primitives import whole_number

__all__ = ["bearer_token", "checked_body_token", "claims_of", "is_token"]

_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/=]{1,4096}")
_BEARER: Final = re.compile(rf"[Bb][Ee][Aa][Rr][Ee][Rr] +({_TOKEN.pattern}) *")


class _Claims(msgspec.Struct):
    # Of any type: one that cannot be read takes nothing from the other.
    sub: object = None
    exp: object = None


# An end past every clock is no end, one before every clock an end all the same; as a
# huge whole number neither could be compared with one.
_LATEST: Final = 2**53
_claims_decoder = msgspec.json.Decoder(_Claims)


def is_token(text: str) -> bool:
    """Whether this can be a token at all: 1 to 4096 characters of its alphabet."""
    return _TOKEN.fullmatch(text) is not None


def bearer_token(authorization: str | None) -> str:
    """The token of an ``Authorization`` header; raises :class:`Unauthorized`."""
    match = _BEARER.fullmatch(authorization or "")
    if match is None:
        raise Unauthorized
    return match[1]


def checked_body_token(token: object) -> str:
    """The token of a request body; raises :class:`InvalidRequest`."""
    if not isinstance(token, str) or not is_token(token):
        raise InvalidRequest("A valid token is needed.")
    return token


def claims_of(token: str) -> tuple[int | None, float | None]:
    """The student's number and the end (Unix seconds) that a JWT claims; None for what
    cannot be read.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None, None
    payload = parts[1]
    try:
        claims = _claims_decoder.decode(
            base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        )
    except (ValueError, RecursionError):
        return None, None
    return _student_id(claims.sub), _end(claims.exp)


def _student_id(sub: object) -> int | None:
    number = whole_number(sub) if isinstance(sub, str) else sub
    if type(number) is not int:  # nor a bool
        return None
    return number if 0 < number < 10**18 else None


def _end(exp: object) -> float | None:
    if type(exp) is not int and type(exp) is not float:
        return None
    return float(max(exp, -_LATEST)) if exp <= _LATEST else None
