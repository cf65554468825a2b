"""One worker process: build, serve, drain, exit with status 0.

A worker listens on inherited sockets and speaks with its parent over one channel: it
sends a byte when it is ready and then one a second from its event loop, so that silence
means a hung loop; it receives one byte that says how to end.
"""

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec
import tornado.platform.asyncio  # noqa: F401 - or each worker would, after the fork

from ..app import Machine, Worker, build
from ..config import Settings, max_connections
from ..http_server import AddressLimit, Listener, Peer
from ..logs import AccessLog
from ..metrics import Metrics
from ..web import is_trusted

try:
    import uvloop
except ImportError:  # it comes with the extra ``fast``
    _new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    _new_loop = uvloop.new_event_loop

__all__ = [
    "LEAVE",
    "READY",
    "ExitMode",
    "WorkerSpec",
    "collect_garbage_when_idle",
    "run",
]

_log = logging.getLogger(__name__)

READY: Final = b"R"
LEAVE: Final = b"L"  # it got a SIGTERM of its own
_HEARTBEAT: Final = b"."
_HEARTBEAT_SECONDS: Final = 1.0
_PREPARE_SECONDS: Final = 0.002  # who has been waiting for a worker is answered first
_LAG_SECONDS: Final = 0.1
_LOG_SECONDS: Final = 0.02  # lines of the access log wait so long for others
# A collection holds the loop: 3 ms at most while the young generation is small, 20 to
# 80 ms for one of 200 000 objects under load. A full one walks through everything that
# is kept and was never seen to find anything, so it is made rare.
_GC_THRESHOLDS: Final = (2_000, 5, 10_000)
_GC_SECONDS: Final = 55.0
_IDLE_CPU_SECONDS: Final = 0.05


class ExitMode(Enum):
    """How a worker is told to leave; the value is the byte that says it."""

    STOP = b"T"  # SIGTERM: let the balancer notice first
    STOP_NOW = b"I"  # SIGINT: without that delay
    RETIRE = b"Q"  # its successor serves already


class WorkerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker is given.

    ``number`` is that of no other living worker; ``calls`` is its share of the calls
    to the platform.
    """

    number: int
    generation: int
    calls: int


def run(
    settings: Settings,
    machine: Machine,
    spec: WorkerSpec,
    sockets: list[socket.socket],
    channel: socket.socket,
) -> None:
    """Serve until told to end: all of a forked process after its set-up."""
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
        worker=spec.number,
        generation=spec.generation,
        memory=machine.metrics,
    )
    loop = asyncio.get_running_loop()
    access_log = AccessLog(functools.partial(loop.call_later, _LOG_SECONDS))
    worker = build(
        settings,
        machine,
        metrics=metrics,
        access_log=access_log,
        number=spec.number,
        calls=spec.calls,
    )
    listener = _listener(settings, machine, worker, spec.number)
    mode = _exit_mode(channel)
    listener.add_sockets(sockets)
    _send(channel, READY)
    background = [
        asyncio.create_task(_heartbeat(channel)),
        asyncio.create_task(_prepare(worker)),
        asyncio.create_task(_watch_lag(metrics)),
        asyncio.create_task(_sample_and_expire(worker, metrics, access_log)),
        asyncio.create_task(collect_garbage_when_idle()),
    ]
    await _drain(await mode, settings, listener, worker)
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await worker.close()
    access_log.flush()
    metrics.log_lines_lost(access_log.lost_lines)


def _listener(
    settings: Settings, machine: Machine, worker: Worker, number: int
) -> Listener:
    """The accepting side of a worker, with a place for each client that it may have."""
    places = max_connections(settings.max_concurrent_requests)
    each = settings.connections_per_address or places // 2

    def on_refused(peer: Peer) -> None:
        worker.metrics.limited("connections")
        worker.incidents.connection_refused(
            peer.remote_ip, connections=listener.connections, places=places, each=each
        )

    listener = Listener(
        worker.delegate,
        on_rejected=worker.rejections.record,
        fast_path=worker.fast_path,
        connection_count=machine.connections.of(number),
        max_connections=places,
        address_limit=AddressLimit(
            each,
            # A proxy brings many clients; one on this machine need not be named.
            exempt=lambda peer: (
                peer.same_machine
                or is_trusted(peer.remote_ip, settings.trusted_proxies)
            ),
        ),
        on_refused=on_refused,
    )
    return listener


async def _drain(
    mode: ExitMode, settings: Settings, listener: Listener, worker: Worker
) -> None:
    """End without losing a request, in the order of docs/reliability.rst P22."""
    listener.disable_keep_alive()
    idle_seconds = 0.0
    if mode is ExitMode.RETIRE:
        # The service stays healthy. Kept connections end with their next answer; one
        # without a request in this time is idle.
        listener.stop()
        idle_seconds = settings.drain_delay_seconds
    else:
        worker.lifecycle.start_draining()
        if mode is ExitMode.STOP:
            await asyncio.sleep(settings.drain_delay_seconds)
        listener.accept_backlog()
        listener.stop()
    try:
        async with asyncio.timeout(idle_seconds + settings.shutdown_grace_seconds):
            await listener.drained(idle_seconds)
    except TimeoutError:
        _log.warning(
            "SHUTDOWN_GRACE_SECONDS (%g s) is over: cutting off the connections (%d)"
            " with a request under way",
            settings.shutdown_grace_seconds,
            listener.connections,
        )
        await listener.close_all_connections()


def _exit_mode(channel: socket.socket) -> "asyncio.Future[ExitMode]":
    """Resolve when the parent says so; without a parent, exit at once."""
    loop = asyncio.get_running_loop()
    mode: asyncio.Future[ExitMode] = loop.create_future()

    def from_parent() -> None:
        try:
            message = channel.recv(1)
        except OSError:
            message = b""
        if not message:
            # The parent is dead: nobody restarts or drains us.
            os._exit(1)
        if not mode.done():
            mode.set_result(ExitMode(message))

    channel.setblocking(False)
    loop.add_reader(channel, from_parent)
    # The parent starts a successor first, or is stopping and says how itself.
    loop.add_signal_handler(signal.SIGTERM, _send, channel, LEAVE)
    return mode


def _send(channel: socket.socket, message: bytes) -> None:
    # A full channel holds messages enough; a dead parent needs none.
    with contextlib.suppress(OSError):
        channel.send(message)


async def _heartbeat(channel: socket.socket) -> None:
    while True:
        await asyncio.sleep(_HEARTBEAT_SECONDS)
        _send(channel, _HEARTBEAT)


async def _prepare(worker: Worker) -> None:
    """Do what the first call to the platform would wait for."""
    await asyncio.sleep(_PREPARE_SECONDS)
    worker.upstream.prepare()


async def _watch_lag(metrics: Metrics) -> None:
    """Measure by how much a sleep overruns: how long something blocked the loop."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LAG_SECONDS
        await asyncio.sleep(_LAG_SECONDS)
        metrics.loop_lagged(max(0.0, loop.time() - due))


async def _sample_and_expire(
    worker: Worker, metrics: Metrics, access_log: AccessLog
) -> None:
    """Once a second: sample the gauges, and do what otherwise waits for traffic."""
    while True:
        worker.sample()
        metrics.log_lines_lost(access_log.lost_lines)
        await asyncio.sleep(1.0)
        worker.store.expire()
        access_log.flush()


async def collect_garbage_when_idle() -> None:
    """Look for garbage of all ages once a minute, in a second without other work.

    A full collection holds the loop for longer than a request may wait.
    """
    loop = asyncio.get_running_loop()
    collected_at = loop.time()
    while True:
        used = time.process_time()
        await asyncio.sleep(1.0)
        idle = time.process_time() - used < _IDLE_CPU_SECONDS
        if idle and loop.time() - collected_at >= _GC_SECONDS:
            gc.collect()
            collected_at = loop.time()
