"""The value types of calls: a call, its caller, its observer."""

from collections.abc import Awaitable, Hashable
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from ...deadline import Deadline

__all__ = ["Attempt", "Call", "CallObserver", "CallerKey"]

Result = TypeVar("Result")
Made = TypeVar("Made", covariant=True)


class CallerKey(Struct, frozen=True):
    """The caller of a call: a verified student, with any number of tokens, or a client
    address.

    Logins, and tokens that the platform has not answered yet, count as their address,
    because their student is only claimed.

    >>> CallerKey.student(5900001).verified
    True
    >>> CallerKey.address("192.0.2.7") == CallerKey.student(5900001)
    False
    """

    verified: bool
    key: Hashable

    @classmethod
    def student(cls, student: Hashable) -> "CallerKey":
        """The student whom the platform's own answer has named."""
        return cls(True, student)

    @classmethod
    def address(cls, address: Hashable) -> "CallerKey":
        """All clients with this address."""
        return cls(False, address)


class Attempt(Protocol[Made]):
    """Makes one call."""

    def __call__(self, seconds: float, *, fresh: bool) -> Awaitable[Made]:
        """The result of a call of at most ``seconds``; on a new connection if
        ``fresh``, since that of the call which it replaces may hang, and others too.
        """


class CallObserver(Protocol):
    """Observes calls; the metrics do."""

    def call_finished(self, endpoint: str, outcome: str, seconds: float) -> None:
        """A call has ended; ``outcome`` is "ok", "cancelled" or an error's code."""

    def call_repeated(self, endpoint: str) -> None:
        """A failed call is retried."""

    def call_hedged(self, endpoint: str, end: str) -> None:
        """A hedge has begun (``end`` is "started") or was answered first ("won")."""


class Call(Struct, Generic[Result], frozen=True):
    """One call to be made by ``attempt``; a ``repeatable`` one may be retried and
    hedged.
    """

    endpoint: str
    caller: CallerKey
    attempt: Attempt[Result]
    deadline: Deadline
    repeatable: bool
