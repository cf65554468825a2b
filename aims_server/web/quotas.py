"""Who may ask how often: the three buckets of the contract as one policy, and the
quota headers (draft-ietf-httpapi-ratelimit-headers-10) that tell a client.
"""

import math
from typing import Final

import msgspec

from ..errors import RateLimited
from ..ratelimit import Decision, RateLimiter
from .sessions import Session

__all__ = ["Quota", "RequestLimits"]

_WINDOW_SECONDS: Final = 60


class Quota(msgspec.Struct, frozen=True):
    """What is left of one bucket after this request."""

    kind: str
    decision: Decision

    def headers(self) -> tuple[tuple[str, str], ...]:
        """``RateLimit-Policy`` and ``RateLimit``; ``t`` is when more will be there:
        for a refused request the moment it would pass, else the full bucket.
        """
        limit = self.decision
        wait = limit.reset_after if limit.allowed else limit.retry_after
        return (
            ("RateLimit-Policy", f'"{self.kind}";q={limit.limit};w={_WINDOW_SECONDS}'),
            (
                "RateLimit",
                f'"{self.kind}";r={limit.remaining};t={math.ceil(wait)}',
            ),
        )

    def check(self) -> None:
        """Raise :class:`RateLimited` if the bucket was empty."""
        if not self.decision.allowed:
            raise RateLimited(self.kind, self.decision.retry_after)


class RequestLimits:
    """The limiters of one worker over the machine's shared table.

    A session is counted twice: by its token, and, once the platform has vouched for
    the token, by its student. So several logins share one quota, while a made-up
    token that claims to be somebody uses up nothing of theirs.
    """

    def __init__(
        self, *, student: RateLimiter, address: RateLimiter, login: RateLimiter
    ) -> None:
        self._student = student
        self._address = address
        self._login = login

    def by_address(self, address: str) -> Quota:
        """Count a request against its client's address."""
        return Quota("address", self._address.take(address))

    def by_session(self, session: Session) -> Quota:
        """Count a request against its token and its student."""
        decision = self._student.take(session.key)
        student = _verified_student(session)
        if decision.allowed and student is not None:
            shared = self._student.take(student)
            if not shared.allowed:
                # A refused request uses up nothing, or the wait it is told of would
                # not be the true one.
                self._student.give_back(session.key)
                return Quota("student", shared)
            if shared.remaining < decision.remaining:
                decision = shared
        return Quota("student", decision)

    def by_both(self, address: str, session: Session) -> Quota | None:
        """Count a request against both, or, if either refuses it, against neither."""
        quota = self.by_session(session)
        if not quota.decision.allowed:
            return None
        if self._address.try_take(address):
            return quota
        self._student.give_back(session.key)
        student = _verified_student(session)
        if student is not None:
            self._student.give_back(student)
        return None

    def by_user_name(self, user_name: str) -> Quota:
        """Count a login against its user name, whatever its case and blanks."""
        return Quota("login", self._login.take(user_name.strip().lower()))


def _verified_student(session: Session) -> str | None:
    """The student whose bucket a session shares, once the platform has answered it."""
    return str(session.student_id) if session.verified and session.student_id else None
