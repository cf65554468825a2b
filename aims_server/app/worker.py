"""One worker's objects, built from the settings."""

import logging
import random
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from .. import __version__
from ..cache import (
    AnswerCache,
    Codec,
    CopyLimitedStore,
    Lifetimes,
    Sharing,
    SingleFlight,
)
from ..config import Settings
from ..deadline import Clock
from ..handlers import FastPath, HandlerContext, Lifecycle, Rejections
from ..http_server import FramingGuard
from ..logs import AccessLog, IncidentLog, RateLimitedLog
from ..metrics import Metrics
from ..ratelimit import RateLimiter
from ..service import AimsService
from ..upstream import (
    ENDPOINTS,
    Admission,
    Bulkhead,
    EndpointBreakers,
    FailureLog,
    Oddities,
    ResiliencePolicy,
    RetryBudget,
    Transport,
    UpstreamClient,
)
from ..web import CorsPolicy, RequestLimits, SessionReader
from .kept_pages import (
    ANSWERS,
    PARTS,
    ReadSide,
    ignore_refusal,
    levels_of,
    open_store,
    shared_log_of,
)
from .machine import MEGABYTE, Machine
from .routes import make_application

if TYPE_CHECKING:
    from ..store import Store

__all__ = ["Worker", "build"]

_log = logging.getLogger(__name__)

Kept = TypeVar("Kept")

# Calls that outlive their asker keep a handle for a moment longer than their slot.
_SPARE_HANDLES: Final = 4
# Of CACHE_MAX_MB, for what the machine's memory holds as well (docs/speed.rst).
_COPIED_BYTES: Final = 2 * MEGABYTE


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's objects, for its process."""

    delegate: FramingGuard
    fast_path: FastPath
    rejections: Rejections
    lifecycle: Lifecycle
    metrics: Metrics
    store: CopyLimitedStore[Any]
    slots: Bulkhead
    service: AimsService
    sessions: SessionReader
    flights: tuple[SingleFlight[Any], ...]
    shared: "Store | None"
    upstream: UpstreamClient
    events: RateLimitedLog
    incidents: IncidentLog

    async def close(self) -> None:
        """End background work, then the connections it would use."""
        await self.service.close()
        for flights in self.flights:
            await flights.close()
        if self.shared is not None:
            await self.shared.close()
        await self.upstream.close()

    def sample(self) -> None:
        """Set the gauges, and write the log lines that were held back."""
        self.events.flush()
        self.metrics.sample(
            entries=len(self.store),
            bytes=self.store.size,
            evictions=self.store.evictions,
            slots_in_use=self.slots.in_use,
            slots_waiting=self.slots.waiting,
            slots_limit=self.slots.pool.share,
        )
        self.incidents.sampled(
            evictions=self.store.evictions,
            entries=len(self.store),
            bytes=self.store.size,
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

    ``number`` is that of no other living worker; ``calls`` is this one's share of
    MAX_CONCURRENT_REQUESTS, all of it by default; ``clock`` is monotonic seconds and
    ``wall`` Unix time.
    """
    size = settings.max_concurrent_requests
    slots = Bulkhead(machine.slots.of(number, size=size, share=calls or size))
    breakers = EndpointBreakers(ENDPOINTS, clock=clock)
    breakers.subscribe(
        lambda endpoint, state: metrics.upstream.breaker_changed(endpoint, state.value)
    )
    transport = Transport(
        size + _SPARE_HANDLES,
        f"aims_server/{__version__}",
        proxy=settings.external_api_proxy,
        ca_file=settings.external_api_ca_file,
    )
    events = RateLimitedLog(_log, clock=clock)
    incidents = IncidentLog(events, _limits_of(settings))
    breakers.subscribe(
        lambda endpoint, state: incidents.circuit_changed(endpoint, state.value)
    )
    upstream = UpstreamClient(
        transport,
        ResiliencePolicy(
            Admission(slots, breakers, clock=clock),
            metrics.upstream,
            retries=RetryBudget(),
            hedges=RetryBudget(share=0.1, floor=10.0),
            random=random.random,
            on_failure=FailureLog(settings.external_api_base, events).record,
            # A page takes two round trips: none can be had of a platform so slow.
            sick_seconds=settings.gather_timeout_seconds / 2,
        ),
        settings.external_api_base,
        settings.external_api_origin,
        Oddities(metrics.upstream, events),
    )
    max_bytes = settings.cache_max_mb * MEGABYTE
    copied_bytes = min(_COPIED_BYTES, max_bytes // 2)
    store: CopyLimitedStore[Any] = CopyLimitedStore(
        max_bytes - copied_bytes, copied_bytes, epochs=machine.epochs, clock=clock
    )
    shared = open_store(settings, machine, metrics.sharing, clock, wall)
    levels = levels_of(settings, machine, shared)

    def read_side(codec: Codec[Kept]) -> ReadSide[Kept]:
        sharing = Sharing(levels, codec, metrics.sharing, clock=clock)
        on_refusal = shared.invalidations.add if shared else ignore_refusal
        return ReadSide(store, sharing, settings, clock, on_refusal)

    answers = read_side(ANSWERS)
    parts = read_side(PARTS)
    answer_cache = AnswerCache(
        answers.read_through,
        parts.read_through,
        Lifetimes(
            fresh=settings.cache_ttl_seconds,
            stale=settings.cache_stale_seconds,
            floor=settings.cache_refresh_floor_seconds,
        ),
        metrics,
        clock=clock,
        wall=wall,
    )
    service = AimsService(
        upstream,
        answer_cache,
        request_seconds=settings.request_timeout_seconds,
        gather_seconds=settings.gather_timeout_seconds,
        target_percent=settings.attendance_target_percent,
        shared_log=shared_log_of(settings, machine, clock),
        prefetch_on_login=settings.prefetch_on_login,
        on_wrong_student=metrics.upstream.wrong_student,
        clock=clock,
        wall=wall,
    )
    context = HandlerContext(
        service=service,
        sessions=SessionReader(machine.secret, machine.verified, machine.epochs),
        limits=_limits(settings, machine, shared),
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
        rejections=Rejections(context),
        lifecycle=context.lifecycle,
        metrics=metrics,
        store=store,
        slots=slots,
        service=service,
        sessions=context.sessions,
        flights=(answers.flights, parts.flights),
        shared=shared,
        upstream=upstream,
        events=events,
        incidents=incidents,
    )


def _limits(
    settings: Settings, machine: Machine, shared: "Store | None"
) -> RequestLimits:
    """The limits of this machine, and with a store of all machines: logins are asked of
    it one by one, the others are added up.
    """

    def limiter(name: str, per_minute: int, *, summed: bool = True) -> RateLimiter:
        return RateLimiter(
            machine.buckets,
            name=name,
            per_minute=per_minute,
            secret=machine.secret,
            shared=summed and shared is not None,
        )

    student = limiter("student", settings.rate_limit_per_minute)
    address = limiter("address", settings.rate_limit_per_address_per_minute)
    login_failures = limiter(
        "login-failures", settings.login_failures_per_address_per_minute
    )
    if shared is not None:
        shared.start([student, address, login_failures])
    return RequestLimits(
        student=student,
        address=address,
        login=limiter("login", settings.login_limit_per_minute, summed=False),
        login_failures=login_failures,
        ask_machines=shared.limits.ask if shared else None,
    )


def _limits_of(settings: Settings) -> dict[str, str]:
    """What each limit is set by, for the log."""
    address_failures = settings.login_failures_per_address_per_minute
    return {
        "student": f"RATE_LIMIT_PER_MINUTE={settings.rate_limit_per_minute}",
        "address": "RATE_LIMIT_PER_ADDRESS_PER_MINUTE="
        f"{settings.rate_limit_per_address_per_minute}",
        "login": f"LOGIN_LIMIT_PER_MINUTE={settings.login_limit_per_minute}",
        "login-failures": f"LOGIN_FAILURES_PER_ADDRESS_PER_MINUTE={address_failures}",
        "platform": "the platform, which asks it to wait (429)",
    }
