"""The states of a circuit breaker, in the words of /health and metrics."""

from enum import StrEnum

__all__ = ["CircuitState"]


class CircuitState(StrEnum):
    """The states from best to worst; metrics show a state's index.

    >>> list(CircuitState).index(CircuitState.OPEN)
    2
    """

    CLOSED = "closed"  # the server answers and is called
    HALF_OPEN = "half-open"  # the server is being tried
    OPEN = "open"  # the server fails and is not called
