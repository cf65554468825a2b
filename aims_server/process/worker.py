"""One worker's life: build, serve, drain, leave with status 0.

A worker listens on sockets it inherited and talks with its parent over one channel:
upwards a byte when it serves and then one a second, from the loop itself, so that
silence means a hung loop; downwards one byte that says how to end.
"""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec
import tornado.platform.asyncio  # noqa: F401 - or each worker would, after the fork

from ..app import Machine, Worker, build
from ..config import Settings
from ..http_server import Listener
from ..logs import AccessLog
from ..metrics import Metrics

try:
    import uvloop
except ImportError:  # it comes with the extra ``fast``
    _new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    _new_loop = uvloop.new_event_loop

__all__ = ["LEAVE", "READY", "ExitMode", "WorkerSpec", "run"]

_log = logging.getLogger(__name__)

READY: Final = b"R"
LEAVE: Final = b"L"  # it was told to end by somebody else than its parent
_BEAT: Final = b"."
_BEAT_SECONDS: Final = 1.0
_LAG_SECONDS: Final = 0.1
# A collection holds the loop: for 3 ms or less as long as the young are few, whereas
# one of 200 000 took 20 to 80 in a crowd. A full one walks through everything that is
# kept, and was never seen to find anything: let it hardly ever come.
_GC_THRESHOLDS: Final = (2_000, 5, 10_000)
_SPARE_FILES: Final = 64
_MOST_CONNECTIONS: Final = 10_000


class ExitMode(Enum):
    """How a worker is told to leave; the value is the byte that says it."""

    STOP = b"T"  # SIGTERM: let the balancer notice first
    STOP_NOW = b"I"  # SIGINT: without that delay
    RETIRE = b"Q"  # another worker has taken this one's spec already


class WorkerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Where a worker stands among the others.

    ``slot`` names its metric files and is held by no other living process; ``calls`` is
    its share of the calls to the platform.
    """

    slot: int
    generation: int
    calls: int
    metrics_directory: str


def run(
    settings: Settings,
    machine: Machine,
    spec: WorkerSpec,
    sockets: list[socket.socket],
    channel: socket.socket,
) -> None:
    """Serve until told to end; the whole of a forked process after its set-up."""
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_serve(settings, machine, spec, sockets, channel))


async def _serve(
    settings: Settings,
    machine: Machine,
    spec: WorkerSpec,
    sockets: list[socket.socket],
    channel: socket.socket,
) -> None:
    metrics = Metrics(
        worker=spec.slot,
        generation=spec.generation,
        directory=spec.metrics_directory,
    )
    access_log = AccessLog(asyncio.get_running_loop().call_soon)
    worker = build(
        settings, machine, metrics=metrics, access_log=access_log, calls=spec.calls
    )
    listener = Listener(
        worker.front,
        fast_path=worker.lane,
        connection_count=machine.connections.of(spec.slot),
        max_connections=_connections(spec),
        on_refused=lambda: metrics.limited("connections"),
    )
    mode = _listen_for_ending(channel, spec)
    listener.add_sockets(sockets)
    _say(channel, READY)
    chores = [
        asyncio.create_task(_beat(channel)),
        asyncio.create_task(_watch_lag(metrics)),
        asyncio.create_task(_keep_house(worker)),
    ]
    await _drain(await mode, settings, listener, worker)
    for chore in chores:
        chore.cancel()
    await asyncio.gather(*chores, return_exceptions=True)
    await worker.close()
    access_log.flush()


def _connections(spec: WorkerSpec) -> int:
    """How many clients this process has files for, calls to the platform first."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(_MOST_CONNECTIONS, files - 2 * spec.calls - _SPARE_FILES))


async def _drain(
    mode: ExitMode, settings: Settings, listener: Listener, worker: Worker
) -> None:
    """Take no request away from anybody, in the order that api.md 4 gives."""
    listener.disable_keep_alive()
    patience = 0.0
    if mode is ExitMode.RETIRE:
        # The service is as healthy as ever. Kept connections end with their next
        # answer; one that has none to give meanwhile is idle.
        listener.stop()
        patience = settings.drain_delay_seconds
    else:
        worker.lifecycle.start_draining()
        if mode is ExitMode.STOP:
            await asyncio.sleep(settings.drain_delay_seconds)
        listener.accept_backlog()
        listener.stop()
    try:
        async with asyncio.timeout(patience + settings.shutdown_grace_seconds):
            await listener.drained(patience)
    except TimeoutError:
        _log.warning("The grace period is over; requests under way are cut off")
        await listener.close_all_connections()


def _listen_for_ending(
    channel: socket.socket, spec: WorkerSpec
) -> "asyncio.Future[ExitMode]":
    """Resolve when the parent says so; without a parent, exit at once."""
    loop = asyncio.get_running_loop()
    mode: asyncio.Future[ExitMode] = loop.create_future()

    def from_parent() -> None:
        try:
            word = channel.recv(1)
        except OSError:
            word = b""
        if not word:
            # Nobody will restart, drain, count or clean up after this process.
            _remove_metric_files(spec.metrics_directory)
            os._exit(1)
        if not mode.done():
            mode.set_result(ExitMode(word))

    channel.setblocking(False)
    loop.add_reader(channel, from_parent)
    # The parent sees to a replacement first, or is stopping and says how itself.
    loop.add_signal_handler(signal.SIGTERM, _say, channel, LEAVE)
    return mode


def _remove_metric_files(directory: str) -> None:
    """What the parent would have done; a directory that systemd made stays."""
    with contextlib.suppress(OSError):
        for path in Path(directory).glob("*.db"):
            path.unlink(missing_ok=True)
        Path(directory).rmdir()


def _say(channel: socket.socket, word: bytes) -> None:
    # A parent too busy to read has been told often enough; a dead one hears nothing.
    with contextlib.suppress(OSError):
        channel.send(word)


async def _beat(channel: socket.socket) -> None:
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        _say(channel, _BEAT)


async def _watch_lag(metrics: Metrics) -> None:
    """Measure by how much a sleep overruns: the time something held the loop."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LAG_SECONDS
        await asyncio.sleep(_LAG_SECONDS)
        metrics.loop_lagged(max(0.0, loop.time() - due))


async def _keep_house(worker: Worker) -> None:
    """Once a second: let expired answers go without traffic, and take a sample."""
    while True:
        worker.sample()
        await asyncio.sleep(1.0)
        worker.store.expire()
