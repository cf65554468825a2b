"""Reads tokens: their form, their place in a request, and their claims.

Claims are read but not verified, since only the platform has the key. They may narrow
what a token can do here (its own student, its own end), never widen it.
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
    # Of any type, so that an unreadable one does not affect the other.
    sub: object = None
    exp: object = None


# A later end counts as no end; an end before all clocks is an end. Both are bounded,
# for huge whole numbers cannot be compared with a clock's float.
_LATEST: Final = 2**53
_claims_decoder = msgspec.json.Decoder(_Claims)


def is_token(text: str) -> bool:
    """Whether this can be a token: 1 to 4096 characters of a token's alphabet."""
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
    """The student's number and the end (Unix seconds) that a JWT claims; None for each
    that cannot be read.
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
