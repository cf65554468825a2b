"""One worker process: build, serve, drain, exit with status 0.

A worker listens on inherited sockets and speaks with its parent over one channel: it
sends a byte when it is ready and then one a second from its event loop, so that silence
means a hung loop; it receives bytes that say how to end.
"""

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
from enum import Enum
from typing import Final, NoReturn

import msgspec
import tornado.platform.asyncio  # noqa: F401 - or each worker would, after the fork

from ..app import Machine, Worker, build
from ..config import Settings, max_connections
from ..http_server import ARRIVAL_SECONDS, AddressLimit, Listener, Peer
from ..logs import AccessLog
from ..metrics import Metrics
from ..primitives import watched_task
from ..web import is_trusted
from .background import (
    collect_garbage_rarely,
    collect_garbage_when_idle,
    prepare,
    return_memory_when_idle,
    sample_and_expire,
    watch_lag,
)
from .event_loop import new_event_loop, started_threads

__all__ = [
    "LEAVE",
    "READY",
    "ExitMode",
    "WorkerSpec",
    "run",
]

_log = logging.getLogger(__name__)

READY: Final = b"R"
LEAVE: Final = b"L"  # it got a SIGTERM of its own
_HEARTBEAT: Final = b"."
_HEARTBEAT_SECONDS: Final = 1.0
# One for a large answer, and one for small work meanwhile; a worker has one core.
# asyncio's default is the number of cores plus four, up to 32.
_THREADS: Final = 2
_LOOK_SECONDS: Final = 0.05
_LOG_SECONDS: Final = 0.02  # lines of the access log wait so long for others


class ExitMode(Enum):
    """How a worker is told to leave; the value is the byte that says it."""

    STOP = b"T"  # SIGTERM: let the balancer notice first
    STOP_NOW = b"I"  # SIGINT: without that delay
    RETIRE = b"Q"  # its successor serves already


class WorkerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of one worker.

    No other living worker has its ``number``; ``calls`` is its share of the calls to
    the platform.
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
) -> NoReturn:
    """Serve until told to end, then exit with status 0; runs in the forked process.

    Raises NoThreads if the system refuses a thread.
    """
    collect_garbage_rarely()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(settings, machine, spec, sockets, channel))


async def _serve(
    settings: Settings,
    machine: Machine,
    spec: WorkerSpec,
    sockets: list[socket.socket],
    channel: socket.socket,
) -> NoReturn:
    metrics = Metrics(
        worker=spec.number,
        generation=spec.generation,
        memory=machine.metrics,
    )
    loop = asyncio.get_running_loop()
    loop.set_default_executor(started_threads(_THREADS))
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
    exit_requests = _exit_requests(channel)
    listener.add_sockets(sockets)
    _send(channel, READY)
    background = [
        watched_task(work)
        for work in (
            _heartbeat(channel),
            prepare(worker),
            watch_lag(metrics),
            sample_and_expire(worker, access_log),
            collect_garbage_when_idle(),
            return_memory_when_idle(),
        )
    ]
    await _drain(exit_requests, settings, listener, worker)
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await worker.end_work()
    access_log.close()
    metrics.log_lines_lost(access_log.lost_lines)
    # Here, before curl and the loop are freed: they would wait until the host names
    # that they look up are found, 15 s or more with a silent name server.
    os._exit(0)


def _listener(
    settings: Settings, machine: Machine, worker: Worker, number: int
) -> Listener:
    """The listener of a worker, with a place for each client that it may have."""
    places = max_connections(settings.max_concurrent_requests)
    each = settings.connections_per_address or places // 2

    def on_refused(peer: Peer) -> None:
        worker.metrics.limited("connections")
        worker.incidents.connection_refused(
            peer.remote_ip, connections=listener.connections, places=places, each=each
        )

    listener = Listener(
        worker.delegate,
        reject=worker.reject,
        fast_path=worker.fast_path,
        connection_count=machine.connections.of(number),
        max_connections=places,
        address_limit=AddressLimit(
            each,
            # A proxy brings many clients; one on this machine need not be configured.
            exempt=lambda peer: (
                peer.same_machine
                or is_trusted(peer.remote_ip, settings.trusted_proxies)
            ),
        ),
        on_refused=on_refused,
    )
    return listener


async def _drain(
    exit_requests: "asyncio.Queue[ExitMode]",
    settings: Settings,
    listener: Listener,
    worker: Worker,
) -> None:
    """Wait until told to end, then end without losing a request (docs/reliability.rst
    P22).
    """
    mode = await exit_requests.get()
    worker.metrics.leaving(replaced=mode is ExitMode.RETIRE)
    listener.disable_keep_alive()
    if mode is ExitMode.RETIRE:
        # The service stays healthy, and kept connections end with their next answer.
        listener.stop()
        await _let_connections_end(listener, exit_requests)
    else:
        worker.lifecycle.draining = True
        if mode is ExitMode.STOP:
            await asyncio.sleep(settings.drain_delay_seconds)
        listener.accept_backlog()
        listener.stop()
    try:
        async with asyncio.timeout(settings.shutdown_grace_seconds):
            await listener.drained()
    except TimeoutError:
        _log.warning(
            "SHUTDOWN_GRACE_SECONDS (%g s) is over: cutting off the connections (%d)"
            " with a request under way",
            settings.shutdown_grace_seconds,
            listener.connections,
        )
        await listener.close_all_connections()


async def _let_connections_end(
    listener: Listener, exit_requests: "asyncio.Queue[ExitMode]"
) -> None:
    """Leave idle connections open for as long as clients may use them, or until told
    that the service stops.

    If one closes just as a proxy sends a request, the proxy cannot know whether it was
    read, and so would not send a POST again.
    """
    for _ in range(int(ARRIVAL_SECONDS / _LOOK_SECONDS)):
        if not listener.connections or not exit_requests.empty():
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _exit_requests(channel: socket.socket) -> "asyncio.Queue[ExitMode]":
    """The queue of the parent's messages; without a parent the process exits."""
    loop = asyncio.get_running_loop()
    requests: asyncio.Queue[ExitMode] = asyncio.Queue()

    def from_parent() -> None:
        try:
            message = channel.recv(1)
        except OSError:
            message = b""
        if not message:
            # The parent is dead: nobody restarts or drains us.
            os._exit(1)
        requests.put_nowait(ExitMode(message))

    channel.setblocking(False)
    loop.add_reader(channel, from_parent)
    # The parent will start a successor first, or is stopping and tells how.
    loop.add_signal_handler(signal.SIGTERM, _send, channel, LEAVE)
    return requests


def _send(channel: socket.socket, message: bytes) -> None:
    # A full channel has enough messages; a dead parent needs none.
    with contextlib.suppress(OSError):
        channel.send(message)


async def _heartbeat(channel: socket.socket) -> None:
    while True:
        await asyncio.sleep(_HEARTBEAT_SECONDS)
        _send(channel, _HEARTBEAT)
