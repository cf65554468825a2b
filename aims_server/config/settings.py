"""The settings: one table of variables, read from a mapping and checked as a whole.

Each field of `Settings` declares a variable, named like the field in capitals, with its
default, parser and meaning. All other lists of settings (the example file,
docs/operations.rst, `aims-server check`) are made from that table or tested against it.

An empty value means the default, so that ``METRICS_TOKEN=`` in a file is no fault.
"""

import os
from collections.abc import Mapping
from typing import Any, Final, Self

from msgspec import Struct

from ..primitives import StoreAddress, TrustedProxy
from .demo import Demo
from .faults import SettingsError, conflicts
from .parsers import (
    BASE_URL,
    CA_FILE,
    FLAG,
    HOSTS,
    ORIGIN,
    ORIGINS,
    PROXIES,
    PROXY_URL,
    SECRET,
    STORE,
    TOKEN,
    CertificateFile,
    one_of,
    seconds,
    whole,
)
from .variables import setting, variables_of

__all__ = [
    "VARIABLES",
    "Settings",
]

_RATE: Final = whole(1, 1_000_000)


class Settings(Struct, frozen=True, kw_only=True):
    """Every setting, parsed; the defaults are those of a fresh checkout."""

    hosts: tuple[str, ...] = setting(
        "127.0.0.1", HOSTS, "Addresses to listen on, one or several.", name="HOST"
    )
    port: int = setting(
        "3001", whole(0, 65535), "Port to listen on; 0 takes any free one."
    )
    external_api_base: str = setting(
        "https://abes.platform.simplifii.com/api/v1",
        BASE_URL,
        "The college's platform.",
    )
    external_api_origin: str = setting(
        "https://abes.web.simplifii.com",
        ORIGIN,
        "Origin and Referer of the login call.",
    )
    cors_origins: tuple[str, ...] = setting(
        "http://localhost:3000",
        ORIGINS,
        "Web pages whose scripts may call this service.",
        name="CORS_ORIGIN",
    )
    rate_limit_per_minute: int = setting(
        "100",
        _RATE,
        "Requests of one student to all workers, and with STORE_URL to all machines.",
    )
    rate_limit_per_address_per_minute: int = setting(
        "3000", _RATE, "Requests of one client address; a campus shares one."
    )
    login_limit_per_minute: int = setting(
        "10", _RATE, "Logins of one user name, all spellings of one account together."
    )
    login_failures_per_address_per_minute: int = setting(
        "300",
        _RATE,
        "Refused logins of one client address; above it every login is refused.",
    )
    request_timeout_seconds: float = setting(
        "10", seconds(0.1, 300), "Deadline of one request, with queue and retries."
    )
    max_concurrent_requests: int = setting(
        "100",
        whole(1, 10_000),
        "Calls to the platform in flight, for the whole machine.",
    )
    workers: int = setting(
        "0", whole(0, 256), "Worker processes; 0 starts one per CPU."
    )
    cache_ttl_seconds: float = setting(
        "300", seconds(0, 86_400), "How long a kept answer is fresh."
    )
    cache_stale_seconds: float = setting(
        "1800",
        seconds(0, 604_800),
        "How long it may then be served old, while a refresh runs or fails.",
    )
    cache_refresh_floor_seconds: float = setting(
        "30",
        seconds(0, 86_400),
        "A no-cache request refreshes an answer that is older than this.",
    )
    cache_max_mb: int = setting(
        "64",
        whole(1, 65_536),
        "Megabytes of answers each worker keeps at most, 2 of them for copies of shared"
        " ones (CACHE_SHARED_MB); the least recently used are dropped.",
    )
    prefetch_on_login: bool = setting(
        "true",
        FLAG,
        "Whether a successful login gathers the student's attendance, all-attendance"
        " and quiz in the background.",
    )
    gather_timeout_seconds: float = setting(
        "30",
        seconds(0.1, 600),
        "How long an answer is gathered, also after its requests' deadlines; unless"
        " given, at least REQUEST_TIMEOUT_SECONDS.",
    )
    attendance_target_percent: int = setting(
        "75",
        whole(1, 100),
        "Target of the planner's figures: the share of classes to be attended.",
    )
    external_api_proxy: str = setting(
        "",
        PROXY_URL,
        "Proxy for calls to the platform; empty: none. http_proxy is ignored.",
    )
    external_api_ca_file: CertificateFile | None = setting(
        "",
        CA_FILE,
        "Certificate authorities trusted for the platform beside the system's (PEM).",
    )
    web_page: bool = setting(
        "false", FLAG, "Serve the student's page at /; otherwise / redirects to /docs."
    )
    connections_per_address: int = setting(
        "0",
        whole(0, 10_000),
        "Connections of one client address to a worker; 0 is half of all.",
    )
    status_page: bool = setting(
        "false", FLAG, "Serve the operator's page at /status, behind METRICS_TOKEN."
    )
    cache_shared_mb: int = setting(
        "64",
        whole(0, 65_536),
        "Megabytes of answers that the workers share; 0 shares none. Fixed until a"
        " restart.",
    )
    store_url: StoreAddress | None = setting(
        "",
        STORE,
        "A Valkey or Redis server that several machines share; empty: no store.",
    )
    store_secret: bytes | None = setting(
        "",
        SECRET,
        "Secret that encrypts everything in the store, the same on every machine.",
        secret=True,
    )
    store_timeout_ms: int = setting(
        "250",
        whole(20, 2000),
        "Longest wait for an answer of the store, in milliseconds.",
    )
    store_ca_file: CertificateFile | None = setting(
        "",
        CA_FILE,
        "Certificate authorities trusted for the store, not the system's (PEM).",
    )
    trusted_proxies: tuple[TrustedProxy, ...] = setting(
        "", PROXIES, "Proxies whose X-Forwarded-For is believed."
    )
    metrics_token: str | None = setting(
        "",
        TOKEN,
        "Bearer token for /metrics and /status; empty: none is needed.",
        secret=True,
    )
    log_level: str = setting(
        "info",
        one_of("debug", "info", "warning", "error"),
        "The least severe message that is logged.",
    )
    log_format: str = setting(
        "auto",
        one_of("auto", "json", "text"),
        "Form of a log line; auto is text on a terminal and json elsewhere.",
    )
    drain_delay_seconds: float = setting(
        "2",
        seconds(0, 600),
        "On SIGTERM: how long to go on accepting while /health says 503.",
    )
    shutdown_grace_seconds: float = setting(
        "15",
        seconds(0, 3_600),
        "After DRAIN_DELAY_SECONDS: how long to wait for work in flight.",
    )

    demo: Demo | None = None
    """Has no variable: the demo command sets it."""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, str]) -> Self:
        """Parse and check every variable; other names are ignored.

        Raises `SettingsError` with all faults at once.
        """
        values: dict[str, Any] = {}
        faults = []
        for variable in VARIABLES:
            text = mapping.get(variable.name, "")
            try:
                values[variable.field] = variable.parse(text)
            except ValueError as error:
                faults.append(variable.fault(text, error.__cause__))
        if not mapping.get("GATHER_TIMEOUT_SECONDS", "").strip():
            # REQUEST_TIMEOUT_SECONDS can then be raised alone.
            values["gather_timeout_seconds"] = max(
                values.get(field, 0.0)
                for field in ("gather_timeout_seconds", "request_timeout_seconds")
            )
        faults += conflicts(values)
        if faults:
            raise SettingsError(tuple(faults))
        return cls(**values)

    def effective(self) -> list[tuple[str, str]]:
        """Each variable's name and value as in a file, secrets masked."""
        return [(row.name, row.format(getattr(self, row.field))) for row in VARIABLES]

    def __repr__(self) -> str:
        return f"<Settings {' '.join(map('='.join, self.effective()))}>"

    @property
    def effective_workers(self) -> int:
        """The number of workers to start: each must own at least one call."""
        wanted = self.workers or len(os.sched_getaffinity(0))
        return min(wanted, self.max_concurrent_requests)


VARIABLES: Final = variables_of(Settings)
