"""The vocabulary of the resilience policy: a call to be made, and who observes it."""

from collections.abc import Awaitable
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from ...deadline import Deadline
from .callers import CallerKey

__all__ = ["Attempt", "Call", "CallObserver"]

Result = TypeVar("Result")
Made = TypeVar("Made", covariant=True)


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
