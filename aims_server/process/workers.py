"""The worker processes as their parent has them: forked, spoken with, reaped."""

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NoReturn

from ..app import Machine
from ..config import Settings
from ..logs import configure_logging
from ..metrics import Metrics
from . import worker
from .rollout import Child
from .worker import ExitMode, WorkerSpec

__all__ = ["CAUGHT", "WorkerPool"]

_log = logging.getLogger(__name__)

#: What the parent acts upon, and a worker must not inherit its handlers of.
CAUGHT: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class WorkerPool:
    """Forks workers that serve ``sockets`` and keep metric files in ``directory``.

    ``private`` are open files of the parent that no worker may hold on to.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        directory: str,
        private: Sequence[socket.socket],
    ) -> None:
        self._sockets = sockets
        self._directory = directory
        self._private = private
        self._machine = Machine()
        self._children: dict[int, Child] = {}
        self._channels: dict[int, socket.socket] = {}

    def channels(self) -> list[socket.socket]:
        """What to wait for: readable when somebody has something to say."""
        return [c for c in self._channels.values() if c.fileno() >= 0]

    def spawn(self, child: Child, settings: Settings) -> None:
        """Start the process of ``child``; raises OSError if the system refuses."""
        share, rest = divmod(
            settings.max_concurrent_requests, settings.effective_workers
        )
        spec = WorkerSpec(
            slot=child.slot,
            generation=child.generation,
            calls=share + (child.rank < rest),
            metrics_directory=self._directory,
        )
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        # A signal between the fork and the worker's own handlers would wake us up.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)
        try:
            child.pid = os.fork()
            if child.pid == 0:
                ours.close()
                self._become_worker(settings, spec, theirs, blocked)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._children[child.pid] = child
        self._channels[child.pid] = ours

    def _become_worker(
        self,
        settings: Settings,
        spec: WorkerSpec,
        channel: socket.socket,
        unblocked: Iterable[int],
    ) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # A terminal and some supervisors signal the whole group; the parent, who
            # is told as well, knows what its workers should do.
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
            # A sibling's channel held open would hide the parent's death from it.
            for file in (*self._private, *self._channels.values()):
                file.close()
            configure_logging(settings.log_level, settings.log_format)
            worker.run(settings, self._machine, spec, self._sockets, channel)
            status = 0
        except Exception:  # noqa: BLE001 - the last frame of a process, which tells
            _log.exception("Worker %d failed", spec.slot)
        finally:
            os._exit(status)

    def request_exit(self, child: Child, mode: ExitMode) -> None:
        """Say how to leave; the dead do not mind."""
        child.leaving = True
        with contextlib.suppress(OSError):
            self._channels[child.pid].send(mode.value)

    def kill(self, child: Child) -> None:
        """End it this instant."""
        os.kill(child.pid, signal.SIGKILL)

    def messages(self) -> Iterator[tuple[Child, bytes]]:
        """What the workers have said since."""
        for pid, channel in self._channels.items():
            try:
                words = channel.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                words = b""
            if words:
                yield self._children[pid], words
            else:
                channel.close()  # its end; to wait for it would return at once

    def reap(self) -> Iterator[tuple[Child, int]]:
        """The dead, with their exit status; negative, the signal that killed them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is None:
                continue  # of some other house: the demo's platform, a container's
            self._channels.pop(pid).close()
            self._machine.connections.of(child.slot).withdraw()
            with contextlib.suppress(OSError):
                Metrics.retire(self._directory, child.slot)
            yield child, os.waitstatus_to_exitcode(status)
