"""Whether this worker takes work, and since when."""

from ..deadline import Clock

__all__ = ["Lifecycle"]


class Lifecycle:
    """A worker's state as ``/health`` shows it: 503 from when ``draining`` is set.

    >>> Lifecycle(iter([100.0, 112.5]).__next__).uptime_seconds
    12.5
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_at = clock()
        self.draining = False

    @property
    def uptime_seconds(self) -> float:
        """Seconds since this worker was made."""
        return self._clock() - self._started_at
