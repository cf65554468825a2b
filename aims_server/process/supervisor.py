"""The parent's loop: starts and replaces workers, and passes signals on to them.

It uses neither an event loop nor curl: after a fork both would belong to two processes
and work in neither.
"""

import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

from ..config import Loaded, Settings, SettingsError
from ..logs import configure_logging
from .reloading import Reloading
from .reports import Reports
from .rollout import HUNG_SECONDS, START_SECONDS, Child, Rollout
from .signals import SignalQueue
from .worker import LEAVE, READY, ExitMode
from .workers import WorkerPool

__all__ = ["Supervisor"]

_TICK_SECONDS: Final = 0.5
_STRAGGLER_SECONDS: Final = 2.0


class Supervisor:
    """Keeps as many workers serving as the settings ask for.

    ``load`` reads the settings again for SIGHUP and raises SettingsError.
    ``on_serving`` gets the address whenever all workers serve: after the start and
    after a roll.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Loaded],
        sockets: list[socket.socket],
        reports: Reports,
        on_serving: Callable[[str], object],
    ) -> None:
        self._settings = self._proven = settings
        self._proven_generation = 0
        self._reloading = Reloading(settings, load)
        self._sockets = sockets
        self._reports = reports
        self._on_serving = on_serving
        self._signals = SignalQueue()
        self._pool = WorkerPool(settings, sockets, self._signals.sockets)
        self._rollout = Rollout(settings.effective_workers)
        self._announced = False
        self._has_served = False
        self._stop_by: float | None = None
        self._status = 0

    def run(self) -> int:
        """Serve until told to stop; return the exit status."""
        self._signals.catch()
        while self._stop_by is None or self._rollout.children:
            for signalled in self._signals.taken():
                self._on_signal(signalled)
            for number, message in self._pool.messages():
                self._on_message(self._rollout.child(number), message)
            for number, status in self._pool.reap():
                self._on_exit(self._rollout.child(number), status)
            if self._stop_by is None:
                self._replace()
                self._announce()
            self._kill_unresponsive()
            self._reports.keep_up()
            self._wait()
        self._signals.close()  # the demo's platform ends after this
        return self._status

    def _wait(self) -> None:
        """Sleep until a signal, a worker's message, or the time of the next start."""
        if self._stop_by is not None and not self._rollout.children:
            return
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        for channel in self._pool.channels():
            poll.register(channel, select.POLLIN)
        seconds = _TICK_SECONDS
        to_spawn = self._rollout.seconds_to_spawn
        if to_spawn is not None and self._stop_by is None:
            seconds = min(seconds, to_spawn)
        poll.poll(1000 * seconds)

    # -- signals ----------------------------------------------------------

    def _on_signal(self, number: int) -> None:
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
        self._reports.stopping()
        settings = self._settings
        self._stop_by = (
            time.monotonic()
            + settings.drain_delay_seconds
            + settings.shutdown_grace_seconds
            + _STRAGGLER_SECONDS
        )
        for listening in self._sockets:
            # The workers have their own copies. Open here, it would queue clients that
            # nobody accepts.
            listening.close()
        for child in self._rollout.retire_all():
            self._pool.request_exit(child.number, mode)

    def _stop_now(self, why: str) -> None:
        self._reports.killing(why, len(self._rollout.children))
        self._status = 1
        for child in self._rollout.children:
            self._pool.kill(child.number)

    def _reload(self) -> None:
        if self._stop_by is not None or not self._has_served:
            return  # or: the settings have just been read
        self._reports.reloading()
        try:
            loaded = self._reloading.load()
        except SettingsError as error:
            self._reports.not_reloaded(error.faults)
            return
        self._use(loaded.settings)
        self._reports.rolling(self._reloading.warnings(loaded))
        self._announced = False
        self._rollout.roll(self._settings.effective_workers)

    def _use(self, settings: Settings) -> None:
        """Use these settings in the parent and in workers that start from now on."""
        self._settings = settings
        configure_logging(settings.log_level, settings.log_format)

    # -- starts and replacements ------------------------------------------

    def _replace(self) -> None:
        """Do what is due: first start a worker, then retire those that are replaced.

        Between two starts signals are heard and the watchdog is fed: 200 forks on a
        busy machine take 15 seconds.
        """
        rollout = self._rollout
        if rollout.failing:
            self._give_up()
            return
        if rollout.seconds_to_spawn == 0:
            child = rollout.add()
            try:
                self._pool.spawn(
                    self._settings,
                    number=child.number,
                    rank=child.rank,
                    generation=child.generation,
                )
            except OSError as error:
                rollout.on_exit(child)
                self._reports.not_started(child.number, error)
        while (leaver := rollout.retire_next()) is not None:
            self._pool.request_exit(leaver.number, ExitMode.RETIRE)

    def _give_up(self) -> None:
        """Go on with the serving workers, if there are any; else end."""
        rollout = self._rollout
        failed_starts = rollout.failed_starts
        if rollout.none_ready:
            self._reports.giving_up(failed_starts)
            self._stop(ExitMode.STOP_NOW)
            self._status = 1
            return
        is_first = not rollout.given_up
        had_others = self._settings is not self._proven
        self._use(self._proven)
        rollout.give_up(self._settings.effective_workers, self._proven_generation)
        self._has_served = True
        if not rollout.converged:
            self._announced = False
        if is_first:
            self._reports.going_on(
                failed_starts,
                len(rollout.serving),
                settings_before=had_others,
                missing=rollout.seconds_to_spawn is not None,
            )

    def _announce(self) -> None:
        if self._announced or not self._rollout.converged:
            return
        self._announced = self._has_served = True
        self._proven = self._settings
        self._proven_generation = self._rollout.generation
        addresses = ", ".join(_address(s) for s in self._sockets)
        outdated = self._reloading.program_has_changed
        self._reports.serving(addresses, self._rollout.wanted, outdated=outdated)
        self._on_serving(addresses)

    # -- messages and exits ---------------------------------------------------

    def _on_message(self, child: Child, message: bytes) -> None:
        self._rollout.on_message(child, ready=READY in message)
        if LEAVE in message and self._stop_by is None:
            self._reports.replacing(child.number)
            self._rollout.replace(child)

    def _on_exit(self, child: Child, status: int) -> None:
        failed = self._rollout.on_exit(child, killed=status == -signal.SIGKILL)
        if child.leaving:
            if status:
                self._reports.ended_badly(child.number, status)
            return
        self._pool.deaths.inc()
        if failed:
            self._reports.not_started(child.number, status)
        else:
            seconds = time.monotonic() - child.spawned_at
            self._reports.died(child.number, status, seconds)

    def _kill_unresponsive(self) -> None:
        for child in self._rollout.unresponsive():
            self._reports.silent(
                child.number, HUNG_SECONDS if child.ready_at else START_SECONDS
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
