"""Whether a server that may fail is called, in the words of /health and metrics."""

from enum import StrEnum

__all__ = ["CircuitState"]


class CircuitState(StrEnum):
    """The states, from the best to the worst; metrics show a state's place among them.

    >>> list(CircuitState).index(CircuitState.OPEN)
    2
    """

    CLOSED = "closed"  # it answers, and is called
    HALF_OPEN = "half-open"  # it is being tried
    OPEN = "open"  # it fails, and nobody waits for it
