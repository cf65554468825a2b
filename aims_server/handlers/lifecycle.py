"""Whether this worker takes work, and since when."""

import time
from collections.abc import Callable

__all__ = ["Lifecycle"]


class Lifecycle:
    """A worker's state as ``/health`` shows it; ``draining`` stays once it is set."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_at = clock()
        self.draining = False

    @property
    def uptime_seconds(self) -> float:
        """Seconds since this worker was made."""
        return self._clock() - self._started_at

    def start_draining(self) -> None:
        """From now on ``/health`` says 503."""
        self.draining = True
