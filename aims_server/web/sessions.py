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
from collections.abc import Callable, MutableMapping
from typing import Annotated, Final

import msgspec
from cachetools import LRUCache

from ..errors import InvalidRequest, Unauthorized, WrongStudent
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


def _only_epoch(_: bytes) -> int:
    return 0


class Session:
    """One token's identity, and whether the token has standing.

    ``key`` is the keyed hash (32 bytes) that stands for the token everywhere past the
    door; ``student_id`` and ``expires_at`` (Unix seconds) are the token's own claims,
    None where it makes none that can be read. ``owner`` (32 bytes) is whose answers
    these are: this token's, of the student that it claims.

    A token has standing (``verified``) from the first answer of the platform that names
    its student until the first one that refuses it, in whatever process: that ends the
    owner's ``epoch``. Only then does its claim count for anything that the student's
    other tokens share.
    """

    __slots__ = (
        "_registry",
        "_verified",
        "admission_number",
        "epoch",
        "expires_at",
        "key",
        "owner",
        "student_id",
    )

    def __init__(
        self,
        key: bytes,
        student_id: int | None,
        expires_at: float | None,
        registry: "MutableMapping[bytes, Session]",
        epoch_of: Callable[[bytes], int] = _only_epoch,
    ) -> None:
        self.key = key
        self.owner = hashlib.blake2b(
            str(student_id).encode(), key=key, digest_size=32
        ).digest()
        self.epoch = epoch_of(self.owner)
        self.student_id = student_id
        self.admission_number: str | None = None
        self.expires_at = expires_at
        self._registry = registry
        self._verified = False

    @property
    def verified(self) -> bool:
        """Whether the token has standing."""
        return self._verified

    @property
    def verified_student(self) -> int | None:
        """The student's number, if the token has standing and the number is known."""
        return self.student_id if self._verified else None

    def resource_key(self, resource: str) -> bytes:
        """Cache key of one resource of this session."""
        return self.key + resource.encode()

    def confirm(
        self, *, student_id: int | None = None, admission_number: str | None = None
    ) -> None:
        """Note whom an answer to this token names; this alone gives standing.

        An answer that names nobody changes nothing. Raises :class:`WrongStudent` if it
        names another student than the token, or than an earlier answer.
        """
        if admission_number is not None:
            admission_number = admission_number.strip().casefold()
        if _differ(self.student_id, student_id) or _differ(
            self.admission_number, admission_number
        ):
            raise WrongStudent
        if student_id is None and not admission_number:
            return
        self.student_id = self.student_id or student_id
        self.admission_number = self.admission_number or admission_number
        self._verified = True
        self._registry[self.key] = self

    def refuse(self) -> None:
        """Take the standing back: the platform does not accept the token."""
        self._verified = False
        known = self._registry.pop(self.key, None)
        if known is not None:
            known._verified = False


class Caller:
    """A session together with its token and the client's address as limits count it,
    for as long as one request lasts.
    """

    __slots__ = ("address", "session", "token")

    def __init__(self, session: Session, token: str, address: str) -> None:
        self.session = session
        self.token = token
        self.address = address


class _Claims(msgspec.Struct):
    sub: int | str | None = None
    # An end past every clock is no end; as a huge whole number it could not even be
    # compared with one.
    exp: Annotated[float, msgspec.Meta(le=2**53)] | None = None


_claims_decoder = msgspec.json.Decoder(_Claims)


class SessionReader:
    """Turns tokens into sessions under one secret, made at start and shared by the
    workers so that all of them agree on a token's key.

    Sessions with standing are remembered, 16 384 of them; of all others nothing is.
    ``epoch_of`` tells of an owner how often it was refused, in all processes.

    >>> sessions = SessionReader(b"secret")
    >>> sessions.read("token").confirm(student_id=5900001)
    >>> sessions.read("token").verified, sessions.read("another").verified
    (True, False)
    """

    def __init__(
        self, secret: bytes, epoch_of: Callable[[bytes], int] = _only_epoch
    ) -> None:
        self._secret = secret[:64]
        self._epoch_of = epoch_of
        self._verified: LRUCache[bytes, Session] = LRUCache(_REMEMBERED_SESSIONS)

    def __len__(self) -> int:
        """How many sessions are remembered."""
        return len(self._verified)

    def caller(self, token: str, address: str) -> Caller:
        """The caller behind a token that has passed :func:`bearer_token`."""
        return Caller(self.read(token), token, address)

    def read(self, token: str) -> Session:
        """The session of a token: the remembered one, or one without standing."""
        key = hashlib.blake2b(
            token.encode("ascii"), key=self._secret, digest_size=32
        ).digest()
        session = self._verified.get(key)
        if session is not None and session.epoch == self._epoch_of(session.owner):
            return session
        return Session(key, *_claims(token), self._verified, self._epoch_of)


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


def _differ(known: object, named: object) -> bool:
    return known is not None and named is not None and known != named
