"""Sessions: a platform token, reduced to what may be kept of it.

The platform's tokens are JWTs whose first ~36 characters are the same for every
student, so only a keyed hash of the *whole* token identifies a session.
"""

import hashlib
from typing import Final

from ..errors import WrongStudent
from ..primitives import NO_EPOCH, Epochs
from .tokens import claims_of
from .verified_keys import VerifiedKeys

__all__ = [
    "Caller",
    "Registry",
    "Session",
    "SessionReader",
]

_REMEMBERED_SESSIONS: Final = 16384  # 480 bytes each, and 12 us to read one anew


class Session:
    """One token's identity, and whether the token has standing.

    ``key`` is the keyed hash (32 bytes) that stands for the token in the cache and in
    what workers share; ``student_id`` and ``expires_at`` (Unix seconds) are the token's
    own claims, None where it makes none that can be read. ``owner`` (32 bytes) is what
    its kept answers belong to: this token, of the student that it claims.

    A token has standing (``verified``) from the first answer of the platform that names
    its student until the first one that refuses it, in whatever process: that ends the
    owner's ``epoch``. Only then does its claim count for anything that the student's
    other tokens share. ``admission_hash`` stands for the admission number that was
    named with it, in whatever process; 0 if none was.
    """

    __slots__ = (
        "_registry",
        "_verified",
        "admission_hash",
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
        registry: "Registry",
    ) -> None:
        self.key = key
        self.owner = hashlib.blake2b(
            str(student_id).encode(), key=key, digest_size=32
        ).digest()
        self.epoch = registry.epochs.of(self.owner)
        self.student_id = student_id
        self.admission_hash = 0
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
        """Note the student that an answer names; this alone gives standing.

        An answer that names nobody changes nothing, nor does one that comes after the
        platform has refused the token. Raises :class:`WrongStudent` if it
        names another student than the token, or than an earlier answer.
        """
        if student_id is None and not (admission_number or "").strip():
            return  # fifteen times a page: nothing is hashed nor looked up for it
        named = _hash_of(admission_number or "", self.key)
        known = self.admission_hash or self._registry.admission_hash(self.key)
        if _differ(self.student_id, student_id) or _differ(known, named):
            raise WrongStudent
        self.student_id = self.student_id or student_id
        self.admission_hash = known or named
        self._verified = self._registry.add(self)

    def refuse(self) -> None:
        """Take the standing back: the platform does not accept the token."""
        self._verified = False
        known = self._registry.discard(self.key)
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


class Registry:
    """The sessions with standing: 16 384 of them in this worker's memory, and the keys
    of more in memory that all workers share. Of all others nothing is kept.
    """

    def __init__(self, shared: VerifiedKeys, epochs: Epochs) -> None:
        self.epochs = epochs
        # In the order of their last use: half the memory and time of an LRUCache.
        self._sessions: dict[bytes, Session] = {}
        self._shared = shared

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, key: bytes) -> Session | None:
        """The session of this key that this worker remembers, unless it was refused in
        another process since.
        """
        session = self._sessions.pop(key, None)
        if session is None:
            return None
        self._sessions[key] = session
        return session if self.epochs.is_current(session.epoch) else None

    def admission_hash(self, key: bytes) -> int | None:
        """The ``admission_hash`` of the session of this key, if this worker or another
        has given it standing; else None.
        """
        return self._shared.get(key)

    def add(self, session: Session) -> bool:
        """Give a session standing, for as long as its epoch lasts: that in which its
        token was read, or if there was none then, that in which the platform was first
        asked. A login names its student before either, and begins one. False if the
        epoch is over: what was asked before a refusal may be answered after it.
        """
        session.epoch = session.epoch or self.epochs.begin(session.owner)
        if not self.epochs.is_current(session.epoch):
            return False
        self._sessions[session.key] = session
        if len(self._sessions) > _REMEMBERED_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        if session.student_id is not None:
            self._shared.add(session.key, session.admission_hash)
        return True

    def discard(self, key: bytes) -> Session | None:
        """Forget a session, which is returned if this worker remembered it."""
        self._shared.discard(key)
        return self._sessions.pop(key, None)


class SessionReader:
    """Turns tokens into sessions under one secret, made at start and shared by the
    workers so that all of them agree on a token's key; ``shared`` and ``epochs``, which
    a refusal in any of them ends, are theirs as well.

    >>> sessions = SessionReader(b"secret")
    >>> sessions.read("token").confirm(student_id=5900001)
    >>> sessions.read("token").verified, sessions.read("another").verified
    (True, False)
    """

    def __init__(
        self,
        secret: bytes,
        shared: VerifiedKeys | None = None,
        epochs: Epochs | None = None,
    ) -> None:
        self._hash = hashlib.blake2b(key=secret[:64], digest_size=32)
        self._registry = Registry(shared or VerifiedKeys(1), epochs or Epochs())

    def __len__(self) -> int:
        """How many sessions are remembered."""
        return len(self._registry)

    def caller(self, token: str, address: str) -> Caller:
        """The caller behind a token that has passed :func:`bearer_token`."""
        return Caller(self.read(token), token, address)

    def read(self, token: str) -> Session:
        """The session of a token: the remembered one, or a new one, which has standing
        if another worker has given it to the token.
        """
        hashed = self._hash.copy()
        hashed.update(token.encode("ascii"))
        key = hashed.digest()
        session = self._registry.get(key)
        if session is None:
            session = Session(key, *claims_of(token), self._registry)
            if session.epoch == NO_EPOCH:
                # Refused since it had standing, on another machine maybe; if it ever
                # had. The epoch that a request begins must not give it back.
                self._registry.discard(key)
            if self._registry.admission_hash(key) is not None:
                session.confirm(student_id=session.student_id)
        return session


def _differ(known: int | None, named: int | None) -> bool:
    """Whether both are there, 0 being none, and not the same."""
    return bool(known and named) and known != named


def _hash_of(admission_number: str, key: bytes) -> int:
    """24 bits that are not 0; 0 of a blank."""
    text = admission_number.strip().casefold().encode()
    digest = hashlib.blake2b(text, key=key, digest_size=3).digest()
    return int.from_bytes(digest, "big") or 1 if text else 0
