"""Owns the contract's request limits as one policy, and the headers that tell a client
its quota (draft-ietf-httpapi-ratelimit-headers-10).
"""

import math
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from ..deadline import Deadline
from ..errors import RateLimited
from ..ratelimit import Decision, Pending, RateLimiter
from .limit_keys import address_key, user_name_key
from .sessions import Session

__all__ = ["Quota", "RequestLimits"]

_WINDOW_SECONDS: Final = 60


class Quota(msgspec.Struct, frozen=True):
    """The state of one bucket after this request. ``kind`` is its limiter's name, and
    ``key`` the bucket's key, empty if other machines hold the bucket.
    """

    kind: str
    decision: Decision
    key: str = ""

    def header_lines(self) -> str:
        """The lines ``RateLimit-Policy`` and ``RateLimit``. ``t`` is the time until the
        bucket is full, or for a refused request until it would be allowed.
        """
        limit = self.decision
        wait = limit.reset_after if limit.allowed else limit.retry_after
        return (
            f'RateLimit-Policy: "{self.kind}";q={limit.limit};w={_WINDOW_SECONDS}\r\n'
            f'RateLimit: "{self.kind}";r={limit.remaining};t={math.ceil(wait)}\r\n'
        )

    def check(self) -> None:
        """Raise :class:`RateLimited` if the bucket was empty."""
        if not self.decision.allowed:
            raise RateLimited(self.kind, self.decision.retry_after)


_Charge = tuple[RateLimiter, str]
"""A limiter, and the key to be charged."""

#: Takes a token of a key's bucket on all machines; None if they cannot be asked.
AskMachines = Callable[[RateLimiter, str], Awaitable[Decision | None]]


class RequestLimits:
    """The limiters of one worker over the machine's shared table.

    A student's request counts against the client's address and against the student. All
    tokens with standing share the student's bucket. A token without standing counts
    against a bucket shared by all tokens with the same claim from the same address. So
    several logins have one quota, an invented token uses up nothing of the student
    whom it claims, and many invented tokens get no more than one.
    """

    def __init__(
        self,
        *,
        student: RateLimiter,
        address: RateLimiter,
        login: RateLimiter,
        login_failures: RateLimiter,
        guesses: RateLimiter,
        ask_machines: AskMachines | None = None,
    ) -> None:
        self._student = student
        self._address = address
        self._login = login
        self._login_failures = login_failures
        self._guesses = guesses
        self._ask_machines = ask_machines
        self._logins = Pending()

    @property
    def summed(self) -> list[RateLimiter]:
        """The limiters whose charges are summed over all machines."""
        limiters = (
            *(self._student, self._address),
            *(self._login, self._login_failures, self._guesses),
        )
        return [limiter for limiter in limiters if limiter.charges is not None]

    def by_address(self, address: str) -> Quota:
        """Count a request against its client's address; :meth:`student_refused` undoes
        it.
        """
        return _take(self._address_charge(address))

    def student_refused(self, address: str) -> None:
        """Undo the count of :meth:`by_address`: one student's refused requests use up
        nothing of the others with the same address, perhaps a whole campus.
        """
        _give_back(self._address_charge(address))

    def by_session(self, session: Session, address: str) -> Quota:
        """Count a request against its student, or against what its token claims."""
        return _take(self._session_charge(session, address))

    def move_to_student(self, session: Session, address: str, quota: Quota) -> Quota:
        """Move the count of a request from its token's claim to the student whom the
        platform's answer has named meanwhile.
        """
        if session.verified_student is None:
            return quota
        # By the quota's key: a session without a claim has a number by now.
        self._student.give_back(quota.key)
        return self.by_session(session, address)

    def by_both(self, address: str, session: Session) -> Quota | None:
        """Count a request against address and session; against none if one refuses."""
        limiter, key = self._session_charge(session, address)
        decision = limiter.take(key)
        if not decision.allowed:
            return None
        if not self._address.try_take(address_key(address)):
            limiter.give_back(key)
            return None
        return Quota(limiter.name, decision, key)

    async def by_login(self, user_name: str, address: str, deadline: Deadline) -> Quota:
        """Count a login against its account, on all machines if they share limits, and
        as a failure against its client's address until :meth:`login_ended`.

        Pending logins may all be right, so who finds too many of its address waits for
        their ends, for half of its time at most. The platform needs the rest: a login
        that the deadline ends is not refused, so of wrong ones more would reach it.
        """
        failure = self._failure_charge(address)
        charges = ((self._login, user_name_key(user_name)), failure)
        quota = _take(*charges)
        needed = deadline.remaining() / 2
        while quota.kind == self._login_failures.name:
            if not await self._logins.ended(failure[1], deadline.remaining() - needed):
                break
            quota = _take(*charges)
        if not quota.decision.allowed:
            return quota
        self._logins.begin(failure[1])
        if self._ask_machines is None:
            return quota
        decision = None
        allowed = False  # as when the client leaves meanwhile
        try:
            decision = await self._ask_machines(*charges[0])
            allowed = decision is None or decision.allowed
        finally:
            if not allowed:
                _give_back(charges[0])
                self.login_ended(address, refused=False)
        return quota if decision is None else Quota(self._login.name, decision)

    def login_ended(self, address: str, *, refused: bool) -> None:
        """Undo the second count of :meth:`by_login`, unless the login was refused."""
        limiter, key = self._failure_charge(address)
        if not refused:
            limiter.give_back(key)
        self._logins.end(key)

    def by_guess(self, address: str) -> Quota:
        """Count an offered METRICS_TOKEN as a wrong guess of its client's address;
        :meth:`guess_was_right` undoes it.
        """
        return _take(self._guess_charge(address))

    def guess_was_right(self, address: str) -> None:
        """Undo the count of :meth:`by_guess`."""
        _give_back(self._guess_charge(address))

    def _address_charge(self, address: str) -> _Charge:
        return self._address, address_key(address)

    def _failure_charge(self, address: str) -> _Charge:
        return self._login_failures, address_key(address)

    def _guess_charge(self, address: str) -> _Charge:
        return self._guesses, address_key(address)

    def _session_charge(self, session: Session, address: str) -> _Charge:
        student = session.verified_student
        key = str(student) if student is not None else _claim_key(session, address)
        return self._student, key


def _claim_key(session: Session, address: str) -> str:
    """The bucket key of tokens without standing; no student's key has an "@"."""
    return f"{session.student_id}@{address_key(address)}"


def _take(*charges: _Charge) -> Quota:
    """Charge all buckets, or none if one is empty: a refused request must use up
    nothing for its ``Retry-After`` to be true. Returns the quota of the first bucket,
    or of the empty one.
    """
    first: Quota | None = None
    for number, (limiter, key) in enumerate(charges):
        quota = Quota(limiter.name, limiter.take(key), key)
        if not quota.decision.allowed:
            _give_back(*charges[:number])
            return quota
        first = first or quota
    assert first is not None
    return first


def _give_back(*charges: _Charge) -> None:
    for limiter, key in charges:
        limiter.give_back(key)
