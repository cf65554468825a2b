"""The worker processes for their parent: forks, messages, exits."""

import contextlib
import ctypes
import logging
import os
import signal
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NoReturn

import msgspec

from ..app import Machine
from ..config import Settings
from ..logs import configure_logging, discard_buffered
from ..metrics import worker_deaths
from . import worker
from .event_loop import NoThreads
from .signals import CAUGHT
from .worker import ExitMode, WorkerSpec

__all__ = ["EXIT_NO_THREADS", "WorkerPool"]

_log = logging.getLogger(__name__)

#: The exit status of a worker to which the system refuses a thread: sysexits.h
#: EX_OSERR.
EXIT_NO_THREADS: Final = 71

_prctl: Final = ctypes.CDLL(None).prctl
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


class _Process(msgspec.Struct, frozen=True):
    number: int
    channel: socket.socket


class WorkerPool:
    """Forks workers that serve ``sockets``.

    A worker is identified by its number. ``private`` are open files of the parent that
    no worker may keep.
    """

    def __init__(
        self,
        settings: Settings,
        sockets: list[socket.socket],
        private: Sequence[socket.socket],
    ) -> None:
        self._sockets = sockets
        self._private = private
        self._machine = Machine(settings)
        self.deaths = worker_deaths(self._machine.metrics)
        self._processes: dict[int, _Process] = {}

    def channels(self) -> list[socket.socket]:
        """The sockets to poll: readable when a worker has sent a message."""
        channels = (process.channel for process in self._processes.values())
        return [channel for channel in channels if channel.fileno() >= 0]

    def spawn(
        self, settings: Settings, *, number: int, rank: int, generation: int
    ) -> None:
        """Start a worker. If calls do not divide evenly, those with the lowest ``rank``
        get one more. Raises OSError if the system refuses.
        """
        share, rest = divmod(
            settings.max_concurrent_requests, settings.effective_workers
        )
        spec = WorkerSpec(
            number=number,
            generation=generation,
            calls=share + (rank < rest),
        )
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        # A signal between the fork and the worker's own handlers would wake us up.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                self._become_worker(settings, spec, theirs, blocked)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._processes[pid] = _Process(number, ours)

    def _become_worker(
        self,
        settings: Settings,
        spec: WorkerSpec,
        channel: socket.socket,
        unblocked: Iterable[int],
    ) -> NoReturn:
        status = 1
        try:
            # A hanging worker would not see its channel end, and would keep the port.
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # A terminal and some supervisors signal the whole group. The parent gets
            # the signal as well, and tells its workers what to do.
            for number in CAUGHT:
                if number != signal.SIGCHLD:
                    signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
            # A sibling's channel, open here too, would hide the parent's death from it.
            siblings = (process.channel for process in self._processes.values())
            for file in (*self._private, *siblings):
                file.close()
            discard_buffered()
            configure_logging(settings.log_level, settings.log_format)
            worker.run(settings, self._machine, spec, self._sockets, channel)
        except NoThreads:
            status = EXIT_NO_THREADS
        except Exception:  # noqa: BLE001 - the last frame of a process, which logs it
            _log.exception("Worker %d failed", spec.number)
        finally:
            os._exit(status)

    def request_exit(self, number: int, mode: ExitMode) -> None:
        """Tell the worker how to leave; has no effect on one that has ended."""
        for process in self._processes.values():
            if process.number == number:
                with contextlib.suppress(OSError):
                    process.channel.send(mode.value)

    def kill(self, number: int) -> None:
        """Kill the worker (SIGKILL)."""
        for pid, process in self._processes.items():
            if process.number == number:
                os.kill(pid, signal.SIGKILL)

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """The messages since the last call, each with its worker's number."""
        for process in self._processes.values():
            try:
                message = process.channel.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                message = b""
            if message:
                yield process.number, message
            else:
                process.channel.close()  # at its end, poll() would return at once

    def reap(self) -> Iterator[tuple[int, int]]:
        """The numbers of ended workers with their exit statuses; negative: a signal."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            process = self._processes.pop(pid, None)
            if process is None:
                continue  # no worker: the demo's platform, an orphan in a container
            process.channel.close()
            self._machine.connections.of(process.number).withdraw()
            self._machine.slots.withdraw(process.number)
            self._machine.metrics.retire(process.number)
            yield process.number, os.waitstatus_to_exitcode(status)
