"""What a token looks like, where a request has it, and what it claims.

Claims are read, never verified: the platform alone holds the key. They may narrow what
a token can do here (its own student, its own end), never widen it.
"""

import base64
import binascii
import re
from typing import Annotated, Final

import msgspec

from ..errors import InvalidRequest, Unauthorized
from ..primitives import whole_number

__all__ = ["bearer_token", "checked_body_token", "claims_of", "is_token"]

_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/=]{1,4096}")


class _Claims(msgspec.Struct):
    sub: int | str | None = None
    # An end past every clock is no end; as a huge whole number it could not even be
    # compared with one.
    exp: Annotated[float, msgspec.Meta(le=2**53)] | None = None


_claims_decoder = msgspec.json.Decoder(_Claims)


def is_token(text: str) -> bool:
    """Whether this can be a token at all: 1 to 4096 characters of its alphabet."""
    return _TOKEN.fullmatch(text) is not None


def bearer_token(authorization: str | None) -> str:
    """The token of an ``Authorization`` header; raises :class:`Unauthorized`."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not is_token(token):
        raise Unauthorized
    return token


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
    except (binascii.Error, msgspec.MsgspecError, ValueError, RecursionError):
        return None, None
    return _student_id(claims.sub), claims.exp


def _student_id(sub: int | str | None) -> int | None:
    if isinstance(sub, str):
        sub = whole_number(sub)
    return sub if sub is not None and 0 < sub < 10**18 else None
