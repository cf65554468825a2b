"""The parent's loop: it starts and replaces workers and passes signals on to them.

It touches no event loop and no curl: a curl handle or a loop that crosses a fork
belongs to two processes and works in neither.
"""

import errno
import logging
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

from ..config import Settings, SettingsError
from ..logs import RateLimitedLog, configure_logging, flush_log
from .reloading import Reloading
from .rollout import (
    FAILED_STARTS,
    HUNG_SECONDS,
    START_SECONDS,
    Child,
    Rollout,
)
from .systemd import Notifier
from .worker import LEAVE, READY, ExitMode
from .workers import CAUGHT, WorkerPool

__all__ = ["Supervisor"]

_log = logging.getLogger(__name__)

_TICK_SECONDS: Final = 0.5
_STRAGGLER_SECONDS: Final = 2.0


class Supervisor:
    """Keeps as many workers serving as the settings ask for.

    ``load`` reads the settings again for SIGHUP and raises SettingsError;
    ``on_serving`` is given the address whenever all workers serve, at first and after a
    roll.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        sockets: list[socket.socket],
        notifier: Notifier,
        on_serving: Callable[[str], object],
    ) -> None:
        self._settings = self._proven = settings
        self._reloading = Reloading(settings, load)
        self._sockets = sockets
        self._notifier = notifier
        self._on_serving = on_serving
        self._wakeups, self._wake = socket.socketpair()
        self._pool = WorkerPool(settings, sockets, (self._wakeups, self._wake))
        self._rollout = Rollout(settings.effective_workers)
        self._failures = RateLimitedLog(_log)
        self._announced = False
        self._has_served = False
        self._stop_by: float | None = None
        self._status = 0

    def run(self) -> int:
        """Serve until told to stop; the exit status."""
        self._catch_signals()
        while self._stop_by is None or self._rollout.children:
            self._take_signals()
            for number, message in self._pool.messages():
                self._on_message(self._rollout.child(number), message)
            for number, status in self._pool.reap():
                self._on_exit(self._rollout.child(number), status)
            if self._stop_by is None:
                self._replace()
                self._announce()
            self._kill_unresponsive()
            self._notifier.alive()
            self._failures.flush()
            flush_log()
            self._wait()
        # A signal after this (the demo's platform ends too) wakes nothing.
        signal.set_wakeup_fd(-1)
        return self._status

    def _wait(self) -> None:
        """Sleep until a signal, a worker's message, or the time of the next start."""
        if self._stop_by is not None and not self._rollout.children:
            return
        poll = select.poll()
        for file in (self._wakeups, *self._pool.channels()):
            poll.register(file, select.POLLIN)
        seconds = _TICK_SECONDS
        to_spawn = self._rollout.seconds_to_spawn
        if to_spawn is not None and self._stop_by is None:
            seconds = min(seconds, to_spawn)
        poll.poll(1000 * seconds)

    # -- signals ----------------------------------------------------------

    def _catch_signals(self) -> None:
        for end in (self._wakeups, self._wake):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in CAUGHT:
            # The wake-up socket carries the number; there only has to be a handler.
            signal.signal(number, lambda *_: None)
        # Those sent since the start were held back until now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)

    def _take_signals(self) -> None:
        try:
            numbers = self._wakeups.recv(64)
        except BlockingIOError:
            return
        for number in numbers:
            if number == signal.SIGHUP:
                self._reload()
            elif number == signal.SIGTERM:
                self._stop(ExitMode.STOP if self._has_served else ExitMode.STOP_NOW)
            elif number in (signal.SIGINT, signal.SIGQUIT):
                self._stop(ExitMode.STOP_NOW)

    def _stop(self, mode: ExitMode) -> None:
        if self._stop_by is not None:
            self._stop_now("Told again to stop, so at once")
            return
        _log.info("Stopping")
        self._notifier.stopping()
        settings = self._settings
        self._stop_by = (
            time.monotonic()
            + settings.drain_delay_seconds
            + settings.shutdown_grace_seconds
            + _STRAGGLER_SECONDS
        )
        for listening in self._sockets:
            # The workers have theirs; kept open here, it would let clients queue where
            # nobody accepts them.
            listening.close()
        for child in self._rollout.retire_all():
            self._pool.request_exit(child.number, mode)

    def _stop_now(self, why: str) -> None:
        _log.warning(
            "%s: killing the workers (%d) with what they are answering",
            why,
            len(self._rollout.children),
        )
        self._status = 1
        for child in self._rollout.children:
            self._pool.kill(child.number)

    def _reload(self) -> None:
        if self._stop_by is not None or not self._has_served:
            return  # or: the settings have just been read
        self._notifier.reloading()
        try:
            settings = self._reloading.load()
        except SettingsError as error:
            for fault in error.faults:
                _log.error("Settings not changed: %s", fault)
            self._notifier.ready("Serving; the settings are wrong")
            return
        self._settings = settings
        configure_logging(settings.log_level, settings.log_format)
        for warning in self._reloading.warnings(settings):
            _log.warning("%s", warning)
        self._announced = False
        self._rollout.roll(settings.effective_workers)
        _log.info("Replacing the workers one by one")

    # -- starts and replacements ------------------------------------------

    def _replace(self) -> None:
        """Take the steps that are due: starts first, then the workers they replace."""
        rollout = self._rollout
        if rollout.failing:
            self._give_up()
            return
        while rollout.seconds_to_spawn == 0:
            child = rollout.add()
            try:
                self._pool.spawn(
                    self._settings,
                    number=child.number,
                    rank=child.rank,
                    generation=child.generation,
                )
            except OSError as error:
                many = error.errno == errno.EAGAIN
                remedy = " (raise TasksMax= or `ulimit -u`)" if many else ""
                self._failures.event(
                    "fork",
                    logging.ERROR,
                    f"A worker cannot be started: {error.strerror}{remedy}; it is tried"
                    " again",
                )
                rollout.on_exit(child)
        while (leaver := rollout.retire_next()) is not None:
            self._pool.request_exit(leaver.number, ExitMode.RETIRE)

    def _give_up(self) -> None:
        """Go on with the workers that serve, if there are any."""
        if self._rollout.none_ready:
            _log.critical(
                "No worker can be started: %d starts in a row have failed, for the"
                " reasons above. Giving up, with exit status 1",
                FAILED_STARTS,
            )
            self._stop(ExitMode.STOP_NOW)
            self._status = 1
            return
        self._settings = self._proven
        self._rollout.give_up(self._settings.effective_workers)
        self._failures.event(
            "starts",
            logging.CRITICAL,
            f"New workers cannot be started: {FAILED_STARTS} starts in a row have"
            " failed, for the reasons above. Going on with"
            f" {len(self._rollout.serving)} that serve and the settings before",
        )
        self._has_served = True
        if not self._rollout.converged:
            self._announced = False
            self._notifier.ready("Serving with fewer workers: others cannot be started")

    def _announce(self) -> None:
        if self._announced or not self._rollout.converged:
            return
        self._announced = self._has_served = True
        self._proven = self._settings
        addresses = ", ".join(_address(s) for s in self._sockets)
        number = self._rollout.wanted
        workers = f"{number} worker{'s' * (number > 1)}"
        _log.info("Serving on %s with %s", addresses, workers)
        self._on_serving(addresses)
        is_new = self._reloading.program_has_changed
        hint = "; restart to use a new version" if is_new else ""
        self._notifier.ready(f"Serving with {workers}{hint}")

    # -- messages and exits ---------------------------------------------------

    def _on_message(self, child: Child, message: bytes) -> None:
        self._rollout.on_message(child, ready=READY in message)
        if LEAVE in message and self._stop_by is None:
            _log.info("Replacing worker %d, as it was told to end", child.number)
            self._rollout.replace(child)

    def _on_exit(self, child: Child, status: int) -> None:
        self._rollout.on_exit(child, killed=status == -signal.SIGKILL)
        lived = time.monotonic() - child.spawned_at
        if not child.leaving:
            self._pool.metrics.worker_died()
            lost = (
                "with what it was answering" if child.ready_at else "before it served"
            )
            _log.error(
                "Worker %d died (%s) after %.0f s, %s; another is started",
                child.number,
                _cause(status),
                lived,
                lost,
            )
        elif status:
            _log.warning(
                "Worker %d ended badly (%s) when it was to leave",
                child.number,
                _cause(status),
            )

    def _kill_unresponsive(self) -> None:
        for child in self._rollout.unresponsive():
            _log.error(
                "Worker %d is silent: no sign of life from its event loop for %.0f s;"
                " killing it",
                child.number,
                HUNG_SECONDS if child.ready_at else START_SECONDS,
            )
            self._pool.kill(child.number)
        if self._stop_by is not None and time.monotonic() > self._stop_by:
            self._stop_by += _STRAGGLER_SECONDS
            self._stop_now("The time to end is over")


def _address(listening: socket.socket) -> str:
    name = listening.getsockname()
    if not isinstance(name, tuple):
        return str(name)
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _cause(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
