"""The composition root: builds one worker's objects from the settings, and the table of
what answers where.
"""

import logging
import random
import secrets
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec
from tornado.web import Application, RequestHandler

from . import __version__
from .cache import (
    AnswerCache,
    Codec,
    Epochs,
    FlightCancelled,
    Level,
    Lifetimes,
    MachinePages,
    MemoryStore,
    Owner,
    ReadThrough,
    Served,
    SharedMemoryCache,
    Sharing,
    SingleFlight,
)
from .config import Settings
from .deadline import Clock, Deadline
from .errors import ApiError, TokenRefused
from .handlers import (
    BaseHandler,
    FastPath,
    HandlerContext,
    Lifecycle,
    Rejections,
    api,
    demo,
    docs,
    ops,
    progress,
    status,
    web_page,
)
from .http_server import ConnectionCounts, FramingGuard
from .logs import AccessLog, IncidentLog, RateLimitedLog
from .metrics import Metrics, MetricsMemory, SharingMetrics
from .pages import DEMO, LOGIN, PAGES
from .ratelimit import BucketTable, RateLimiter
from .service import AimsService
from .upstream import (
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
from .web import (
    CorsPolicy,
    RequestLimits,
    SessionReader,
    VerifiedKeys,
    pack_answer,
    unpack_answer,
)

__all__ = ["Machine", "Worker", "build"]

_log = logging.getLogger(__name__)

Kept = TypeVar("Kept")

_MEGABYTE: Final = 1024 * 1024
# Calls that outlive their asker keep a handle for a moment longer than their slot.
_SPARE_HANDLES: Final = 4


if TYPE_CHECKING:
    from .store import MachineStore, Store


class Machine:
    """What all workers of one machine share; made once, before any fork.

    It outlives its workers, and a reload of the settings: ``settings`` are those of the
    start.
    """

    def __init__(self, settings: Settings, *, clock: Clock = time.monotonic) -> None:
        self.store = _machine_store(settings)
        # Machines that share a store agree on the keys of sessions and limits.
        self.secret = (
            self.store.secrets.session if self.store else secrets.token_bytes(32)
        )
        self.buckets = BucketTable()
        self.epochs = Epochs()
        self.pages = (
            SharedMemoryCache(
                settings.cache_shared_mb * _MEGABYTE, self.epochs, clock=clock
            )
            if settings.cache_shared_mb
            else None
        )
        self.verified = VerifiedKeys()
        self.connections = ConnectionCounts()
        self.metrics = MetricsMemory()


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's objects, for its process."""

    delegate: FramingGuard
    fast_path: FastPath
    rejections: Rejections
    lifecycle: Lifecycle
    metrics: Metrics
    store: MemoryStore[Any]
    slots: Bulkhead
    calls: int
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
            slots_limit=self.calls,
        )
        self.incidents.sampled(
            evictions=self.store.evictions,
            entries=len(self.store),
            bytes=self.store.size,
            waiting=self.slots.waiting,
            calls=self.calls,
        )


def build(
    settings: Settings,
    machine: Machine,
    *,
    metrics: Metrics,
    access_log: AccessLog,
    calls: int | None = None,
    clock: Clock = time.monotonic,
    wall: Clock = time.time,
) -> Worker:
    """Build a worker, inside its own process: nothing here may cross a fork.

    ``calls`` is this worker's share of MAX_CONCURRENT_REQUESTS, all of it by default;
    ``clock`` is monotonic seconds and ``wall`` Unix time.
    """
    share = calls or settings.max_concurrent_requests
    slots = Bulkhead(share)
    breakers = EndpointBreakers(ENDPOINTS)
    breakers.subscribe(
        lambda endpoint, state: metrics.breaker_changed(endpoint, state.value)
    )
    transport = Transport(
        share + _SPARE_HANDLES,
        f"aims_server/{__version__}",
        proxy=settings.external_api_proxy,
        ca_file=settings.external_api_ca_file,
    )
    events = RateLimitedLog(_log, clock=clock)
    incidents = IncidentLog(events)
    breakers.subscribe(
        lambda endpoint, state: incidents.circuit_changed(endpoint, state.value)
    )
    upstream = UpstreamClient(
        transport,
        ResiliencePolicy(
            Admission(slots, breakers),
            metrics,
            retries=RetryBudget(),
            hedges=RetryBudget(share=0.1, floor=10.0),
            random=random.random,
            # A page takes two round trips: none can be had of a platform so slow.
            sick_seconds=settings.gather_timeout_seconds / 2,
        ),
        settings.external_api_base,
        settings.external_api_origin,
        Oddities(metrics, events),
        FailureLog(settings.external_api_base, events, clock=clock),
    )
    store: MemoryStore[Any] = MemoryStore(
        settings.cache_max_mb * _MEGABYTE, epochs=machine.epochs, clock=clock
    )
    shared = _open_store(settings, machine, metrics.sharing, clock, wall)
    levels = _levels(settings, machine, shared)

    def read_side(codec: Codec[Kept]) -> _ReadSide[Kept]:
        sharing = Sharing(levels, codec, metrics.sharing, clock=clock)
        on_refusal = shared.invalidations.add if shared else _tell_nobody
        return _ReadSide(store, sharing, settings, clock, on_refusal)

    answers = read_side(_ANSWERS)
    parts = read_side(_PARTS)
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
        prefetch_on_login=settings.prefetch_on_login,
        on_wrong_student=metrics.wrong_student,
        clock=clock,
        wall=wall,
    )
    context = HandlerContext(
        service=service,
        sessions=SessionReader(machine.secret, machine.verified, machine.epochs.of),
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
        calls=share,
        service=service,
        sessions=context.sessions,
        flights=(answers.flights, parts.flights),
        shared=shared,
        upstream=upstream,
        events=events,
        incidents=incidents,
    )


def make_application(
    context: HandlerContext, settings: Settings, transport: Transport
) -> Application:
    """The route table."""
    common = {"context": context}
    guarded = {**common, "token": settings.metrics_token or ""}
    routes: list[tuple[str, type[BaseHandler], dict[str, Any]]] = [
        (LOGIN.path, api.LoginHandler, common),
        *(
            (page.path, progress.page_handler(page), {**common, "page": page})
            for page in PAGES
        ),
        (r"/health(?:/ready)?", ops.HealthHandler, common),
        (r"/health/live", ops.LiveHandler, common),
        (r"/metrics", ops.MetricsHandler, guarded),
        (r"/openapi\.json", docs.OpenApiHandler, common),
        (r"/docs(?:/[a-z.-]*)?", docs.DocsHandler, common),
    ]
    if settings.status_page:
        routes.append((r"/status(?:/[a-z.]+)?", status.StatusHandler, guarded))
    if settings.web_page:
        files = {"files": web_page.load_page(demo=settings.demo is not None)}
        routes.append((r"/(?:page/.*)?", web_page.PageHandler, common | files))
    else:
        routes.append((r"/", web_page.DocsRedirect, common))
    if settings.demo is not None:
        corner = {
            "students": settings.demo.students,
            "control_url": settings.demo.control_url,
            "transport": transport,
        }
        routes.append((DEMO.path, demo.DemoHandler, {**common, **corner}))
    return Application(
        routes,
        default_handler_class=BaseHandler,
        default_handler_args=common,
        log_function=_handlers_log,
    )


class _ReadSide(Generic[Kept]):
    """A read-through over the worker's store, with the flights it runs."""

    def __init__(
        self,
        store: MemoryStore[Any],
        sharing: Sharing[Kept],
        settings: Settings,
        clock: Clock,
        on_refusal: Callable[[Owner, int], object],
    ) -> None:
        # An asker leaves at its own deadline; the work goes on, and has its own.
        work_seconds = settings.gather_timeout_seconds
        self.flights: SingleFlight[Served[Kept]] = SingleFlight(
            work_seconds=work_seconds, grace=0.0, clock=clock
        )
        self.read_through: ReadThrough[Kept] = ReadThrough(
            store,
            self.flights,
            refresh_deadline=lambda: Deadline(work_seconds, clock),
            is_refusal=lambda error: isinstance(error, TokenRefused),
            loader=sharing,
            on_refusal=on_refusal,
            on_foreign=_log_foreign_entry,
            on_refresh_error=_log_refresh_error,
            clock=clock,
        )


_ANSWERS: Final = Codec(pack_answer, unpack_answer, lambda answer: answer.size)
_PARTS: Final = Codec[bytes](bytes, bytes, sys.getsizeof)


def _lifetime(settings: Settings) -> float:
    """How many seconds a page may be kept."""
    return settings.cache_ttl_seconds + settings.cache_stale_seconds


def _machine_store(settings: Settings) -> "MachineStore | None":
    if settings.store_url is None or settings.store_secret is None:
        return None
    from .store import MachineStore  # late: without a store a start need not pay 45 ms

    ca_file = settings.store_ca_file or None
    return MachineStore(settings.store_url, settings.store_secret, ca_file=ca_file)


def _open_store(
    settings: Settings,
    machine: Machine,
    observer: SharingMetrics,
    clock: Clock,
    wall: Clock,
) -> "Store | None":
    if machine.store is None:
        return None
    from .store import Store

    return Store(
        machine.store,
        machine.epochs,
        observer,
        patience=settings.store_timeout_ms / 1000,
        lifetime=_lifetime(settings),
        clock=clock,
        wall=wall,
    )


def _levels(
    settings: Settings, machine: Machine, shared: "Store | None"
) -> list[Level]:
    """Where pages are looked for beyond this worker, in this order."""
    levels: list[Level] = []
    if not _lifetime(settings):
        return levels  # to wait for a page that is not kept would be to wait in turn
    if machine.pages is not None:
        levels.append(
            Level(
                "machine",
                MachinePages(machine.pages),
                # As long as the flight may take: a death is noticed at once.
                lease_seconds=Deadline.remaining,
                first_pause=0.005,
                growth=1.5,
                longest_pause=0.05,
            )
        )
    if shared is not None:
        # A machine that dies, or loses the store, costs those who wait elsewhere so
        # much; with a lease as long as a request they would run into its deadline.
        lease_seconds = settings.request_timeout_seconds / 4
        levels.append(
            Level(
                "store",
                shared.pages,
                lease_seconds=lambda _: lease_seconds,
                first_pause=0.01,
                growth=1.6,
                longest_pause=0.08,
            )
        )
    return levels


def _tell_nobody(owner: Owner, dropped: int) -> None:
    """Without a store a refusal concerns this machine alone."""


def _log_foreign_entry() -> None:
    _log.error("A kept answer did not belong to its asker; it was not served")


def _log_refresh_error(error: Exception) -> None:
    """Expected failures show in the metrics of calls; a fault of ours nowhere else."""
    if not isinstance(error, ApiError | TimeoutError | FlightCancelled):
        _log.error("Unexpected failure behind a kept answer", exc_info=error)


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


def _handlers_log(_: RequestHandler) -> None:
    """Every handler writes its own access line in ``on_finish``."""
