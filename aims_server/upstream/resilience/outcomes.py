"""Owns what a failed try says of its endpoint to the circuit breakers."""

from typing import Final

from ...errors import (
    ApiError,
    RateLimited,
    TokenRefused,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnreachable,
    WrongAnswer,
)
from .endpoint_breakers import CallPermit
from .hedging import GaveWay

__all__ = ["record_fault"]

# Answers about this student or this request, which say nothing about the endpoint.
_NO_VERDICT: Final = (TokenRefused, UpstreamRejected, RateLimited, WrongAnswer)


def record_fault(
    permit: CallPermit,
    fault: ApiError,
    seconds: float,
    *,
    failing_seconds: float,
    again: bool,
) -> None:
    """Report a failed try of so many ``seconds``.

    A try that found no connection counts against the connections. A time-out counts
    against the endpoint only if the try had at least ``failing_seconds``, or gave way
    after so long a silence, since a slow platform is not a failing one. Any other
    failure of the endpoint counts unless the try is made ``again``, which then decides.
    """
    if isinstance(fault, UpstreamUnreachable):
        permit.unreachable()
    elif isinstance(fault, UpstreamTimeout):
        if isinstance(fault, GaveWay):
            seconds = fault.silent_seconds
        if seconds < failing_seconds:
            permit.discard()
        else:
            permit.failure()
    elif (
        again
        or isinstance(fault, _NO_VERDICT)
        or type(fault) is UpstreamUnavailable  # a 429: `Pauses` remembers it
    ):
        permit.answered()
    else:
        permit.failure()
