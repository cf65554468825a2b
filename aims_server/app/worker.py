"""Builds one worker's objects from the settings."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from ..config import Settings
from ..deadline import Clock
from ..errors import ApiError
from ..handlers import FastPath, HandlerContext, Lifecycle, reject
from ..http_server import FramingGuard
from ..logs import AccessLog, IncidentLog, RateLimitedLog
from ..metrics import Metrics
from ..primitives import SerialExecutor
from ..service import AimsService
from ..upstream import Bulkhead, UpstreamClient
from ..web import CorsPolicy, SessionReader
from .kept_pages import KeptPages, open_store
from .limits import limit_settings, request_limits
from .machine import Machine
from .routes import make_application
from .upstream import make_upstream

if TYPE_CHECKING:
    from ..store import Store

__all__ = ["Worker", "build"]

_log = logging.getLogger(__name__)


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """The objects that a worker's process runs."""

    delegate: FramingGuard
    fast_path: FastPath
    reject: Callable[[ApiError, str, bytes], bytes]
    lifecycle: Lifecycle
    metrics: Metrics
    kept: KeptPages
    slots: Bulkhead
    service: AimsService
    sessions: SessionReader
    shared: "Store | None"
    upstream: UpstreamClient
    events: RateLimitedLog
    incidents: IncidentLog

    async def close(self) -> None:
        """End background work, then close the connections to the platform."""
        await self.end_work()
        await self.upstream.close()

    async def end_work(self) -> None:
        """End background work, so that other workers wait for nothing of this one."""
        await self.service.close()
        await self.kept.close()
        if self.shared is not None:
            await self.shared.close()
        self.events.flush(last=True)

    def sample(self) -> None:
        """Set the gauges, and write the log lines that are due."""
        self.events.flush()
        memory = self.kept.memory
        self.metrics.sample(
            entries=len(memory),
            bytes=memory.size,
            evictions=memory.evictions,
            slots_in_use=self.slots.in_use,
            slots_waiting=self.slots.waiting,
            slots_limit=self.slots.pool.share,
        )
        self.incidents.sampled(
            evictions=memory.evictions,
            entries=len(memory),
            bytes=memory.size,
            waiting=self.slots.waiting,
            calls=self.slots.pool.size,
        )


def build(
    settings: Settings,
    machine: Machine,
    *,
    metrics: Metrics,
    access_log: AccessLog,
    number: int = 0,
    calls: int | None = None,
    clock: Clock = time.monotonic,
    wall: Clock = time.time,
) -> Worker:
    """Build a worker, inside its own process: nothing here may cross a fork.

    ``number`` belongs to no other living worker. ``calls`` is this worker's share of
    MAX_CONCURRENT_REQUESTS, by default all of it. ``clock`` gives monotonic seconds,
    ``wall`` Unix time.
    """
    size = settings.max_concurrent_requests
    slots = Bulkhead(machine.slots.of(number, size=size, share=calls or size))
    events = RateLimitedLog(_log, clock=clock)
    incidents = IncidentLog(events, limit_settings(settings))
    # One for all: the steps of several executors in one turn would add up.
    executor = SerialExecutor()
    upstream, transport = make_upstream(
        settings, slots, metrics.upstream, events, incidents, executor, clock
    )
    shared = open_store(settings, machine, metrics.sharing, events, clock, wall)
    limits = request_limits(settings, machine, shared)
    if shared is not None:
        shared.start(limits.summed)
    kept = KeptPages(settings, machine, shared, metrics, clock, wall)
    service = AimsService(
        upstream,
        kept.answer_cache,
        executor,
        request_seconds=settings.request_timeout_seconds,
        gather_seconds=settings.gather_timeout_seconds,
        target_percent=settings.attendance_target_percent,
        shared_log=kept.shared_log,
        prefetch_on_login=settings.prefetch_on_login,
        on_wrong_student=metrics.upstream.wrong_student,
        clock=clock,
        wall=wall,
    )
    context = HandlerContext(
        service=service,
        sessions=SessionReader(machine.secret, machine.epochs),
        limits=limits,
        cors=CorsPolicy(settings.cors_origins),
        lifecycle=Lifecycle(clock),
        metrics=metrics,
        access_log=access_log,
        incidents=incidents,
        trusted_proxies=settings.trusted_proxies,
        request_seconds=settings.request_timeout_seconds,
        clock=clock,
        store_state=lambda: shared.state if shared else "off",
    )
    return Worker(
        delegate=FramingGuard(make_application(context, settings, transport)),
        fast_path=FastPath(context),
        reject=partial(reject, context),
        lifecycle=context.lifecycle,
        metrics=metrics,
        kept=kept,
        slots=slots,
        service=service,
        sessions=context.sessions,
        shared=shared,
        upstream=upstream,
        events=events,
        incidents=incidents,
    )
