"""Reports the parent's events to the operator: in the log and to systemd."""

import errno
import logging
import signal
from collections.abc import Iterable
from typing import Final

from ..logs import RateLimitedLog, flush_log
from .rollout import MIN_SERVED_SECONDS, RETRY_SECONDS
from .systemd import Notifier
from .workers import EXIT_NO_THREADS

__all__ = ["Reports"]

_log = logging.getLogger(__name__)

_MORE_TASKS: Final = "raise TasksMax= or `ulimit -u`"


class Reports:
    """One method for each event."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._repeated = RateLimitedLog(_log)

    def keep_up(self) -> None:
        """Feed the watchdog and write waiting log lines; call it every second."""
        self._notifier.alive()
        self._repeated.flush()
        flush_log()

    # -- the service ------------------------------------------------------

    def serving(self, addresses: str, wanted: int, *, outdated: bool) -> None:
        """All ``wanted`` workers serve; ``outdated``: another version is installed."""
        workers = f"{wanted} worker{'s' * (wanted > 1)}"
        _log.info("Serving on %s with %s", addresses, workers)
        hint = "; restart to use a new version" if outdated else ""
        self._notifier.ready(f"Serving with {workers}{hint}")

    def reloading(self) -> None:
        """The settings are being read again."""
        self._notifier.reloading()

    def not_reloaded(self, faults: Iterable[str]) -> None:
        """The new settings are wrong, and change nothing."""
        for fault in faults:
            _log.error("Settings not changed: %s", fault)
        self._notifier.ready("Serving; the settings are wrong")

    def rolling(self, warnings: Iterable[str]) -> None:
        """The new settings are right, and the workers are being replaced."""
        for warning in warnings:
            _log.warning("%s", warning)
        _log.info("Replacing the workers one by one")

    def stopping(self) -> None:
        """No new work is taken."""
        _log.info("Stopping")
        self._notifier.stopping()

    def killing(self, why: str, workers: int) -> None:
        """So many workers are killed."""
        _log.warning(
            "%s: killing the workers (%d) with what they are answering", why, workers
        )

    # -- its workers ------------------------------------------------------

    def replacing(self, number: int) -> None:
        """A worker itself got a SIGTERM."""
        _log.info("Replacing worker %d, as it was told to end", number)

    def silent(self, number: int, seconds: float) -> None:
        """A worker that was silent for so many ``seconds`` is killed."""
        _log.error(
            "Worker %d is silent: no sign of life from its event loop for %.0f s;"
            " killing it",
            number,
            seconds,
        )

    def died(self, number: int, status: int, seconds: float) -> None:
        """A worker that had served has died, so many ``seconds`` after its start."""
        cause = _cause(status)
        line = (
            f"Worker {number} died ({cause}) after {seconds:.0f} s, with what it was"
            " answering; another is started"
        )
        if seconds < MIN_SERVED_SECONDS:  # its successor may, too: 60 lines a second
            self._repeated.event(("died", cause), logging.ERROR, line)
        else:
            _log.error("%s", line)

    def ended_badly(self, number: int, status: int) -> None:
        """A worker that was told to leave has failed."""
        _log.warning(
            "Worker %d ended badly (%s) when it was to leave", number, _cause(status)
        )

    def not_started(self, number: int, why: int | OSError) -> None:
        """A starting worker's process has ended with this status, or was not made."""
        reason = _refusal(why) if isinstance(why, OSError) else _cause(why)
        self._repeated.event(
            reason, logging.ERROR, f"Worker {number} could not start: {reason}"
        )

    def giving_up(self, failed_starts: int) -> None:
        """The service ends: no worker serves and none can be started."""
        _log.critical(
            "No worker can be started: %d starts in a row have failed, for the reasons"
            " above. Giving up, with exit status 1",
            failed_starts,
        )

    def going_on(
        self, failed_starts: int, serving: int, *, settings_before: bool, missing: bool
    ) -> None:
        """The serving workers stay; ``settings_before`` says that a roll has failed."""
        before = " and the settings before" if settings_before else ""
        again = f"; a start is tried every {RETRY_SECONDS:.0f} s" if missing else ""
        _log.critical(
            "New workers cannot be started: %d starts in a row have failed, for the"
            " reasons above. Going on with %d that serve%s%s",
            failed_starts,
            serving,
            before,
            again,
        )
        if missing:
            self._notifier.ready("Serving, but new workers cannot be started")


def _refusal(error: OSError) -> str:
    remedy = f" ({_MORE_TASKS})" if error.errno == errno.EAGAIN else ""
    return f"{error.strerror}{remedy}"


def _cause(status: int) -> str:
    if status == EXIT_NO_THREADS:  # too few tasks or too little address space
        return f"the system refuses it threads ({_MORE_TASKS} or `ulimit -v`)"
    if status >= 0:
        return f"exit status {status}"
    names = {each.value: each.name for each in signal.Signals}
    return names.get(-status, f"signal {-status}")  # most real-time ones have no name
