"""The parent's watch over its workers: births, deaths, rolls and the end.

It forks and waits, and touches no event loop and no curl: a curl handle or a loop that
crosses a fork belongs to two processes and serves neither.
"""

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import Final, NoReturn

import msgspec

from . import worker
from .app import Machine
from .logs import configure_logging
from .metrics import Metrics
from .settings import Settings, SettingsError
from .systemd import Notifier
from .worker import Ending, Place

__all__ = ["Supervisor"]

_log = logging.getLogger(__name__)

_TICK_SECONDS: Final = 0.5
_START_SECONDS: Final = 20.0
_HUNG_SECONDS: Final = 15.0
# A worker that ends by itself this soon after it began to serve has failed to start.
_YOUNG_SECONDS: Final = 0.5
_FAILED_STARTS: Final = 8
_LONGEST_PAUSE: Final = 5.0
_STRAGGLER_SECONDS: Final = 2.0


class _Child(msgspec.Struct):
    """A living worker, as its parent sees it; moments on the monotonic clock."""

    pid: int
    place: Place
    channel: socket.socket
    born_at: float
    heard_at: float
    ready_at: float | None = None
    leaving: bool = False


class Supervisor:
    """Keeps as many workers serving as the settings say.

    ``load`` reads the settings again for SIGHUP and raises SettingsError;
    ``directory`` is where the workers keep their metric files; ``on_serving`` is given
    the address whenever all workers serve, at first and after a roll.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        sockets: list[socket.socket],
        directory: str,
        notifier: Notifier,
        on_serving: Callable[[str], object],
    ) -> None:
        self._settings = settings
        self._load = load
        self._sockets = sockets
        self._directory = directory
        self._notifier = notifier
        self._on_serving = on_serving
        self._machine = Machine()
        self._children: dict[int, _Child] = {}
        self._to_replace: list[_Child] = []
        self._newcomer: _Child | None = None
        self._generation = 0
        self._failed_starts = 0
        self._next_birth = 0.0
        self._announced = False
        self._stop_by: float | None = None
        self._status = 0
        self._selector = selectors.DefaultSelector()
        self._wakeups, self._wake = socket.socketpair()

    def run(self) -> int:
        """Serve until told to stop; the exit status."""
        self._catch_signals()
        while self._stop_by is None or self._children:
            for key, _ in self._selector.select(_TICK_SECONDS):
                if key.data is None:
                    self._take_signals()
                else:
                    self._hear(key.data)
            self._reap()
            if self._stop_by is None:
                self._roll()
                self._fill_up()
                self._announce()
            self._kill_the_silent()
            self._notifier.alive()
        return self._status

    # -- signals ----------------------------------------------------------

    def _catch_signals(self) -> None:
        for end in (self._wakeups, self._wake):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            # The wake-up carries the number; the handler only has to be there.
            signal.signal(number, lambda *_: None)
        self._selector.register(self._wakeups, selectors.EVENT_READ)

    def _take_signals(self) -> None:
        for number in self._wakeups.recv(64):
            if number == signal.SIGHUP:
                self._reload()
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._stop(Ending.STOP if number == signal.SIGTERM else Ending.STOP_NOW)

    def _stop(self, ending: Ending) -> None:
        if self._stop_by is not None:
            _log.warning("Stopping at once")
            self._status = 1
            self._kill(*self._children.values())
            return
        self._notifier.stopping()
        settings = self._settings
        self._stop_by = (
            time.monotonic()
            + settings.drain_delay_seconds
            + settings.shutdown_grace_seconds
            + _STRAGGLER_SECONDS
        )
        for listening in self._sockets:
            # The workers have theirs; an open one here would let clients queue up
            # where nobody will come for them.
            listening.close()
        for child in self._children.values():
            self._tell(child, ending)

    def _reload(self) -> None:
        if self._stop_by is not None:
            return
        try:
            self._settings = self._load()
        except SettingsError as error:
            for fault in error.faults:
                _log.error("Settings not changed: %s", fault)
            return
        self._notifier.reloading()
        self._announced = False
        self._generation += 1
        self._to_replace = self._serving()
        _log.info("Replacing %d workers one by one", len(self._to_replace))

    # -- births -----------------------------------------------------------

    def _serving(self) -> list[_Child]:
        return [child for child in self._children.values() if not child.leaving]

    def _fill_up(self) -> None:
        """Start what is missing, not faster than failing starts allow."""
        wanted = self._settings.effective_workers
        while len(self._serving()) < wanted and time.monotonic() >= self._next_birth:
            self._bear(self._free_rank())

    def _free_rank(self) -> int:
        taken = {child.place.rank for child in self._serving()}
        return next(n for n in range(len(taken) + 1) if n not in taken)

    def _bear(self, rank: int) -> _Child:
        settings = self._settings
        slots = {child.place.slot for child in self._children.values()}
        share, rest = divmod(
            settings.max_concurrent_requests, settings.effective_workers
        )
        place = Place(
            slot=next(n for n in range(len(slots) + 1) if n not in slots),
            rank=rank,
            generation=self._generation,
            calls=share + (rank < rest),
            metrics_directory=self._directory,
        )
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_worker(place, theirs)
        theirs.close()
        ours.setblocking(False)
        now = time.monotonic()
        child = _Child(pid, place, ours, now, now)
        self._children[pid] = child
        self._selector.register(ours, selectors.EVENT_READ, child)
        return child

    def _become_worker(self, place: Place, channel: socket.socket) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            # A terminal sends these to the whole group; the parent passes them on.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            self._selector.close()
            for end in (self._wakeups, self._wake):
                end.close()
            for sibling in self._children.values():
                # Held open here, it would hide the parent's death from its sibling.
                sibling.channel.close()
            configure_logging(self._settings.log_level, self._settings.log_format)
            worker.run(self._settings, self._machine, place, self._sockets, channel)
            status = 0
        except Exception:  # noqa: BLE001 - the last frame of a process, which tells
            _log.exception("Worker %d failed", place.slot)
        finally:
            logging.shutdown()
            os._exit(status)

    def _announce(self) -> None:
        serving = self._serving()
        if self._announced or self._to_replace or len(serving) < len(self._children):
            return
        if all(child.ready_at is not None for child in serving):
            self._announced = True
            addresses = ", ".join(_address(s) for s in self._sockets)
            _log.info("Serving on %s with %d workers", addresses, len(serving))
            self._on_serving(addresses)
            self._notifier.ready(f"Serving with {len(serving)} workers")

    # -- rolls ------------------------------------------------------------

    def _roll(self) -> None:
        """Take the next step of a replacement: a newcomer first, then its elder."""
        self._to_replace = [c for c in self._to_replace if c.pid in self._children]
        if not self._to_replace:
            self._newcomer = None
            return
        elder = self._to_replace[0]
        if len(self._serving()) > self._settings.effective_workers:
            newcomer = self._newcomer
            if newcomer is None or newcomer.ready_at is not None:
                self._to_replace.pop(0)
                self._newcomer = None
                self._tell(elder, Ending.RETIRE)
        elif self._newcomer is None and time.monotonic() >= self._next_birth:
            self._newcomer = self._bear(elder.place.rank)

    # -- ends -------------------------------------------------------------

    def _tell(self, child: _Child, ending: Ending) -> None:
        child.leaving = True
        if child.ready_at is None:
            os.kill(child.pid, signal.SIGKILL)  # it has nothing to finish
            return
        with contextlib.suppress(OSError):
            child.channel.send(ending.value)

    def _hear(self, child: _Child) -> None:
        try:
            words = child.channel.recv(4096)
        except OSError:
            words = b""
        if not words:
            # Its end; the loop must not spin on it until the body is found.
            self._selector.unregister(child.channel)
            return
        child.heard_at = time.monotonic()
        if worker.READY in words:
            child.ready_at = child.heard_at

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                self._bury(child, os.waitstatus_to_exitcode(status))

    def _bury(self, child: _Child, status: int) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.channel)
        child.channel.close()
        Metrics.retire(self._directory, child.place.slot)
        if child.leaving:
            if status:
                _log.warning("Worker %d ended with %d", child.place.slot, status)
            return
        _log.error("Worker %d died (%s)", child.place.slot, _cause(status))
        if child is self._newcomer:
            self._newcomer = None
        now = time.monotonic()
        if child.ready_at is not None and now - child.ready_at > _YOUNG_SECONDS:
            self._failed_starts = 0
            self._next_birth = now
            return
        self._failed_starts += 1
        self._next_birth = now + min(0.1 * 2**self._failed_starts, _LONGEST_PAUSE)
        if self._failed_starts >= _FAILED_STARTS and self._stop_by is None:
            _log.critical("Workers cannot start; giving up")
            self._stop(Ending.STOP_NOW)
            self._status = 1

    def _kill_the_silent(self) -> None:
        now = time.monotonic()
        if self._stop_by is not None and now > self._stop_by:
            self._kill(*self._children.values())
            return
        for child in self._children.values():
            patience = _START_SECONDS if child.ready_at is None else _HUNG_SECONDS
            if now - child.heard_at > patience:
                _log.error("Worker %d is silent; killing it", child.place.slot)
                self._kill(child)

    def _kill(self, *children: _Child) -> None:
        for child in children:
            child.heard_at = time.monotonic()
            os.kill(child.pid, signal.SIGKILL)


def _address(listening: socket.socket) -> str:
    name = listening.getsockname()
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)


def _cause(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
