"""Owns sessions: what may be kept of a token, and which tokens have standing.

The platform's tokens are JWTs whose first ~36 characters are the same for every
student, so only a keyed hash of the *whole* token identifies a session.
"""

import hashlib
from typing import Final

from ..errors import WrongStudent
from ..primitives import Epochs
from .tokens import claims_of

__all__ = ["Caller", "Session", "SessionReader"]

# The note beside the epoch in which a token has standing; the bits below it are the
# hash of the admission number.
_STANDING: Final = 1 << 24
_REMEMBERED_SESSIONS: Final = 16384  # 480 bytes each; reading one anew takes 12 us


class Session:
    """One token's identity, and whether the token has standing.

    ``key`` is the keyed hash (32 bytes) that replaces the token in the cache and
    between workers. ``student_id`` and ``expires_at`` (Unix seconds) are the token's
    own claims, None if unreadable. ``owner`` (32 bytes) identifies token and claimed
    student; the kept answers belong to it.

    A token has standing (``verified``) from the platform's first answer that names its
    student until the first one that refuses the token, which ends the owner's
    ``epoch``; both hold for all processes. Only with standing does the token share
    anything with the student's other tokens. ``admission_hash`` is the hash of the
    admission number named with it in any process, 0 if none was.
    """

    __slots__ = (
        "_reader",
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
        reader: "SessionReader",
    ) -> None:
        self.key = key
        self.owner = hashlib.blake2b(
            str(student_id).encode(), key=key, digest_size=32
        ).digest()
        self.epoch = reader.epochs.of(self.owner)
        self.student_id = student_id
        self.admission_hash = 0
        self.expires_at = expires_at
        self._reader = reader
        self._verified = False

    @property
    def verified(self) -> bool:
        """Whether the token has standing."""
        return self._verified and self._reader.epochs.is_current(self.epoch)

    @property
    def verified_student(self) -> int | None:
        """The student's number, if the token has standing and the number is known."""
        return self.student_id if self.verified else None

    def resource_key(self, resource: str) -> bytes:
        """The cache key of one resource of this session."""
        return self.key + resource.encode()

    def confirm(
        self, *, student_id: int | None = None, admission_number: str | None = None
    ) -> None:
        """Note the student whom an answer names; only this gives standing.

        An answer that names nobody, or comes after a refusal of the token, changes
        nothing. Raises :class:`WrongStudent` if it names another student than the token
        or an earlier answer.
        """
        if student_id is None and not (admission_number or "").strip():
            return  # fifteen times a page, so without a hash or a look-up
        # A login comes before any page, and so begins an epoch.
        self.epoch = self.epoch or self._reader.epochs.begin(self.owner)
        named = _hash_of(admission_number or "", self.key)
        known = self.admission_hash or self._reader.admission_hash(self)
        if _differ(self.student_id, student_id) or _differ(known, named):
            raise WrongStudent
        self.student_id = self.student_id or student_id
        self.admission_hash = known or named
        self._verified = self._reader.give_standing(self)


class Caller:
    """A session with its token and the client's `address_key`; lives as long as one
    request.
    """

    __slots__ = ("address", "session", "token")

    def __init__(self, session: Session, token: str, address: str) -> None:
        self.session = session
        self.token = token
        self.address = address


class SessionReader:
    """Turns tokens into sessions, and remembers those with standing; others are not
    kept. This worker's memory has 16 384 of them; a note beside each one's epoch, in
    ``epochs``, tells all workers. Both end with the epoch, when a token is refused here
    or on another machine.

    >>> sessions = SessionReader(b"secret")
    >>> sessions.read("token").confirm(student_id=5900001)
    >>> sessions.read("token").verified, sessions.read("another").verified
    (True, False)

    The workers share the ``secret``, so that a token has the same key in all of them.
    """

    def __init__(self, secret: bytes, epochs: Epochs | None = None) -> None:
        self.epochs = epochs or Epochs()
        self._hash = hashlib.blake2b(key=secret[:64], digest_size=32)
        # In order of last use: half the memory and time of an LRUCache.
        self._sessions: dict[bytes, Session] = {}

    def __len__(self) -> int:
        """The number of remembered sessions."""
        return len(self._sessions)

    def caller(self, token: str, address: str) -> Caller:
        """The caller behind a token that has passed :func:`bearer_token`."""
        return Caller(self.read(token), token, address)

    def read(self, token: str) -> Session:
        """The session of a token: the remembered one, or a new one that has standing if
        another worker has given the token standing.
        """
        hashed = self._hash.copy()
        hashed.update(token.encode("ascii"))
        key = hashed.digest()
        session = self._sessions.pop(key, None)
        if session is not None and self.epochs.is_current(session.epoch):
            self._sessions[key] = session
            return session
        session = Session(key, *claims_of(token), self)
        if self.admission_hash(session) is not None:
            session.confirm(student_id=session.student_id)
        return session

    def admission_hash(self, session: Session) -> int | None:
        """The ``admission_hash`` of this session's token, if any worker has given it
        standing in this epoch; else None.
        """
        noted = self.epochs.noted(session.epoch)
        return noted & (_STANDING - 1) if noted else None

    def give_standing(self, session: Session) -> bool:
        """Give a session standing for the rest of its epoch; False if that has ended,
        since a call made before a refusal may be answered after it.
        """
        if not self.epochs.is_current(session.epoch):
            return False
        self._sessions[session.key] = session
        if len(self._sessions) > _REMEMBERED_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        if session.student_id is not None:
            self.epochs.note(session.epoch, _STANDING | session.admission_hash)
        return True


def _differ(known: int | None, named: int | None) -> bool:
    """Whether both are known (not 0 or None) and differ."""
    return bool(known and named) and known != named


def _hash_of(admission_number: str, key: bytes) -> int:
    """A hash of 24 bits that is not 0; 0 for an empty number."""
    text = admission_number.strip().casefold().encode()
    digest = hashlib.blake2b(text, key=key, digest_size=3).digest()
    return int.from_bytes(digest, "big") or 1 if text else 0
