"""Who is asking: a platform token, reduced to what may be kept of it.

The platform's tokens are JWTs whose first ~36 characters are the same for every
student, so only a keyed hash of the *whole* token identifies a session. Claims are
read, never verified (the platform alone holds the key): they may narrow what a token
can do here (its own student, its own end), never widen it.
"""

import base64
import binascii
import hashlib
import re
from typing import Annotated, Final

import msgspec
from cachetools import LRUCache

from ..errors import InvalidRequest, Unauthorized, UpstreamError
from ..text import whole_number

__all__ = [
    "Caller",
    "Session",
    "SessionReader",
    "bearer_token",
    "checked_body_token",
    "is_token",
]

_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/=]{1,4096}")
_REMEMBERED_SESSIONS: Final = 16384


class Session:
    """One token's identity.

    ``key`` is the keyed hash (32 bytes) that stands for the token everywhere past the
    door; ``student_id`` and ``expires_at`` (Unix seconds) are the token's own claims,
    None where it makes none that can be read. ``owner`` is whose answers these are:
    the student, or the token itself where it names none. ``verified`` turns true when
    the platform has answered to the token: only then does its claim count for
    anything that touches the student's other sessions.
    """

    __slots__ = ("_verified", "expires_at", "key", "owner", "student_id")

    def __init__(
        self, key: bytes, student_id: int | None, expires_at: float | None
    ) -> None:
        self.key = key
        self.owner: bytes | int = key if student_id is None else student_id
        self.student_id = student_id
        self.expires_at = expires_at
        self._verified = False

    @property
    def verified(self) -> bool:
        """Whether the platform has answered to the token."""
        return self._verified

    def verify(self, student_id: int | None) -> None:
        """Note that the platform has answered to the token, about this student if it
        named one; raises :class:`UpstreamError` if that is another than the token's.
        """
        if self.student_id is None:
            self.student_id = student_id
        elif student_id not in (None, self.student_id):
            raise UpstreamError
        self._verified = True

    def resource_key(self, resource: str) -> bytes:
        """Cache key of one resource of this session."""
        return self.key + resource.encode()


class Caller:
    """A session together with its token, for as long as one request lasts."""

    __slots__ = ("session", "token")

    def __init__(self, session: Session, token: str) -> None:
        self.session = session
        self.token = token


class _Claims(msgspec.Struct):
    sub: int | str | None = None
    # An end past every clock is no end; as a huge whole number it could not even be
    # compared with one.
    exp: Annotated[float, msgspec.Meta(le=2**53)] | None = None


_claims_decoder = msgspec.json.Decoder(_Claims)


class SessionReader:
    """Turns tokens into sessions under one secret, made at start and shared by the
    workers so that all of them agree on a student's rate-limit key.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret[:64]
        self._known: LRUCache[bytes, Session] = LRUCache(_REMEMBERED_SESSIONS)

    def caller(self, token: str) -> Caller:
        """The caller behind a token that has passed :func:`bearer_token`."""
        return Caller(self.read(token), token)

    def read(self, token: str) -> Session:
        """The session of a token, the same object while it is remembered."""
        key = hashlib.blake2b(
            token.encode("ascii"), key=self._secret, digest_size=32
        ).digest()
        session = self._known.get(key)
        if session is None:
            student_id, expires_at = _claims(token)
            session = self._known[key] = Session(key, student_id, expires_at)
        return session


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
        raise InvalidRequest("The field token must be a valid token.")
    return token


def _claims(token: str) -> tuple[int | None, float | None]:
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
