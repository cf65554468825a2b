"""The vocabulary of calls: who makes one, what is made, who observes it, and what was
done for a request beside its calls.
"""

from collections.abc import Awaitable, Hashable
from contextvars import ContextVar
from typing import Final, Generic, Protocol, TypeVar

from msgspec import Struct

from ...deadline import Deadline

__all__ = ["Attempt", "Call", "CallObserver", "CallTally", "CallerKey", "call_tally"]

Result = TypeVar("Result")
Made = TypeVar("Made", covariant=True)


class CallerKey(Struct, frozen=True):
    """A verified student, whatever the number of tokens, or a client's address.

    Logins, and tokens that the platform has not answered yet, count as their address:
    who they claim to be is not known.

    >>> CallerKey.student(5900001).verified
    True
    >>> CallerKey.address("192.0.2.7") == CallerKey.student(5900001)
    False
    """

    verified: bool
    key: Hashable

    @classmethod
    def student(cls, student: Hashable) -> "CallerKey":
        """The student that the platform's own answer has named."""
        return cls(True, student)

    @classmethod
    def address(cls, address: Hashable) -> "CallerKey":
        """All clients of this address."""
        return cls(False, address)


class Attempt(Protocol[Made]):
    """Makes one call."""

    def __call__(self, seconds: float, *, apart: bool) -> Awaitable[Made]:
        """The result of a call of at most ``seconds``; ``apart``: on a connection that
        no other call is using, since one of those is late.
        """


class CallObserver(Protocol):
    """Observes calls: metrics, in production."""

    def call_finished(self, endpoint: str, outcome: str, seconds: float) -> None:
        """One call to the platform ended; ``outcome`` is "ok" or an error's code."""

    def call_repeated(self, endpoint: str) -> None:
        """A call is made once more."""

    def call_hedged(self, endpoint: str, end: str) -> None:
        """A late call got another one beside it (``end`` is "started"), or that one was
        answered first ("won").
        """


class Call(Struct, Generic[Result], frozen=True):
    """What ``attempt`` makes, perhaps more than once if it is ``repeatable``."""

    endpoint: str
    caller: CallerKey
    attempt: Attempt[Result]
    deadline: Deadline
    repeatable: bool


class CallTally(Struct):
    """What was done for one request beyond a call for each answer: the counts of one
    context, of the task that sets it and of all that it starts.

    >>> call_tally.set(CallTally()) and None
    >>> call_tally.get().hedges
    0
    """

    hedges: int = 0


call_tally: Final[ContextVar[CallTally | None]] = ContextVar("call_tally", default=None)
