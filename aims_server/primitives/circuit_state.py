"""Whether a server that may fail is called, in the words of /health and metrics."""

from enum import StrEnum

__all__ = ["CircuitState"]


class CircuitState(StrEnum):
    """From the best state to the worst; the metrics show its place in this order.

    >>> list(CircuitState).index(CircuitState.OPEN)
    2
    """

    CLOSED = "closed"  # it answers, and is called
    HALF_OPEN = "half-open"  # it is being tried
    OPEN = "open"  # it fails, and nobody waits for it
