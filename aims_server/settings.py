"""The settings: one table of variables that parses, checks, explains and masks.

Each field of `Settings` carries its variable's name, meaning and kind; whatever else
speaks about settings (the example file, the README, `aims-server check`) is made from
that table or tested against it.

An empty value means the default, so that ``METRICS_TOKEN=`` in a file is no fault.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from . import dotfile
from .kinds import (
    BASE_URL,
    FLAG,
    HOST,
    NETWORKS,
    ORIGIN,
    ORIGINS,
    TOKEN,
    Kind,
    Network,
    one_of,
    seconds,
    whole,
)

MASK = "***"
RATE = whole(1, 1_000_000)


class SettingsError(Exception):
    """The settings cannot be used; `faults` has one line for every reason."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Variable:
    """One line of the table: a variable and the field that it fills."""

    field: str
    name: str
    default: str
    kind: Kind[Any]
    meaning: str
    secret: bool


def _setting(
    name: str, default: str, kind: Kind[Any], meaning: str, *, secret: bool = False
) -> Any:
    row = {"name": name, "default": default, "kind": kind, "meaning": meaning}
    return field(
        default=kind.parse(default), repr=not secret, metadata=row | {"secret": secret}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, parsed; the defaults are those of a fresh checkout."""

    host: str = _setting("HOST", "127.0.0.1", HOST, "Address to listen on.")
    port: int = _setting(
        "PORT", "3001", whole(0, 65535), "Port to listen on; 0 takes any free one."
    )
    external_api_base: str = _setting(
        "EXTERNAL_API_BASE",
        "https://abes.platform.simplifii.com/api/v1",
        BASE_URL,
        "The college's platform.",
    )
    external_api_origin: str = _setting(
        "EXTERNAL_API_ORIGIN",
        "https://abes.web.simplifii.com",
        ORIGIN,
        "Origin and Referer of the login call.",
    )
    cors_origins: tuple[str, ...] = _setting(
        "CORS_ORIGIN",
        "http://localhost:3000",
        ORIGINS,
        "Web pages whose scripts may call this service.",
    )
    rate_limit_per_minute: int = _setting(
        "RATE_LIMIT_PER_MINUTE",
        "100",
        RATE,
        "Requests of one student, for the whole service on this machine.",
    )
    rate_limit_per_address_per_minute: int = _setting(
        "RATE_LIMIT_PER_ADDRESS_PER_MINUTE",
        "3000",
        RATE,
        "Requests of one client address; a campus shares one.",
    )
    login_limit_per_minute: int = _setting(
        "LOGIN_LIMIT_PER_MINUTE", "10", RATE, "Logins of one user name."
    )
    request_timeout_seconds: float = _setting(
        "REQUEST_TIMEOUT_SECONDS",
        "10",
        seconds(0.1, 300),
        "Deadline of one request: queue, retries and all.",
    )
    max_concurrent_requests: int = _setting(
        "MAX_CONCURRENT_REQUESTS",
        "100",
        whole(1, 10_000),
        "Calls to the platform in flight, whole machine.",
    )
    workers: int = _setting(
        "WORKERS", "0", whole(0, 256), "Processes; 0 starts one per CPU."
    )
    cache_ttl_seconds: float = _setting(
        "CACHE_TTL_SECONDS",
        "300",
        seconds(0, 86_400),
        "How long a kept answer is fresh.",
    )
    cache_stale_seconds: float = _setting(
        "CACHE_STALE_SECONDS",
        "1800",
        seconds(0, 604_800),
        "How long it may then be served old, while a refresh runs or fails.",
    )
    cache_refresh_floor_seconds: float = _setting(
        "CACHE_REFRESH_FLOOR_SECONDS",
        "30",
        seconds(0, 86_400),
        "A no-cache request refreshes an answer that is older than this.",
    )
    cache_max_mb: int = _setting(
        "CACHE_MAX_MB",
        "64",
        whole(1, 65_536),
        "Megabytes of answers kept per worker; the least recently used leave.",
    )
    prefetch_on_login: bool = _setting(
        "PREFETCH_ON_LOGIN",
        "true",
        FLAG,
        "A login that succeeds warms the student's answers in the background.",
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        "TRUSTED_PROXIES", "", NETWORKS, "Proxies whose X-Forwarded-For is believed."
    )
    metrics_token: str | None = _setting(
        "METRICS_TOKEN",
        "",
        TOKEN,
        "Bearer token that /metrics asks for; empty asks for none.",
        secret=True,
    )
    log_level: str = _setting(
        "LOG_LEVEL",
        "info",
        one_of("debug", "info", "warning", "error"),
        "The least severe message that is logged.",
    )
    log_format: str = _setting(
        "LOG_FORMAT",
        "auto",
        one_of("auto", "json", "text"),
        "Form of a log line; auto is text on a terminal and json elsewhere.",
    )
    drain_delay_seconds: float = _setting(
        "DRAIN_DELAY_SECONDS",
        "2",
        seconds(0, 600),
        "On SIGTERM: how long to go on accepting while /health says 503.",
    )
    shutdown_grace_seconds: float = _setting(
        "SHUTDOWN_GRACE_SECONDS",
        "15",
        seconds(0, 3_600),
        "After DRAIN_DELAY_SECONDS: how long to wait for work in flight.",
    )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, str]) -> Self:
        """Parse and check every variable; other names are left alone.

        Raises `SettingsError` with all faults at once.
        """
        values: dict[str, Any] = {}
        faults = []
        for variable in VARIABLES:
            text = mapping.get(variable.name, "")
            try:
                values[variable.field] = _parse(variable, text)
            except ValueError:
                faults.append(_fault(variable, text))
        faults += _disagreements(values)
        if faults:
            raise SettingsError(tuple(faults))
        return cls(**values)

    @property
    def effective_workers(self) -> int:
        """Processes to start: each must own at least one call to the platform."""
        wanted = self.workers or len(os.sched_getaffinity(0))
        return min(wanted, self.max_concurrent_requests)

    def warnings(self) -> tuple[str, ...]:
        """Say what is allowed but hardly meant, one sentence each."""
        return tuple(_doubts(self))


VARIABLES: tuple[Variable, ...] = tuple(
    Variable(field=row.name, **row.metadata) for row in fields(Settings)
)


def load_settings(
    directory: Path, environ: Mapping[str, str]
) -> tuple[Settings, Path | None]:
    """Read the ``.env`` of this very directory, if there is one; `environ` wins.

    A variable that `environ` sets wins even when it is empty: it then means the
    default. Gives the settings and the file that was read, if any. Raises
    `SettingsError` with the faults of both.
    """
    path = directory.absolute() / ".env"
    written: dict[str, str] = {}
    faults: tuple[str, ...] = ()
    source: Path | None = path
    try:
        written, faults = dotfile.read(path)
    except FileNotFoundError:
        source = None
    try:
        settings = Settings.from_mapping({**written, **environ})
    except SettingsError as error:
        raise SettingsError((*faults, *error.faults)) from None
    if faults:
        raise SettingsError(faults)
    return settings, source


def effective(settings: Settings) -> list[tuple[str, str]]:
    """Give each variable's name and value as it would be written, secrets masked."""
    return [
        (row.name, _written(row, getattr(settings, row.field))) for row in VARIABLES
    ]


def _parse(variable: Variable, text: str) -> object:
    if not text.isprintable():  # control characters and undecodable bytes
        raise ValueError(text)
    return variable.kind.parse(text.strip() or variable.default)


def _fault(variable: Variable, text: str) -> str:
    shown = MASK if variable.secret else ascii(_without_credentials(text)[:80])
    return f"{variable.name}={shown}: must be {variable.kind.allowed}"


def _disagreements(values: Mapping[str, Any]) -> Iterator[str]:
    """Check what variables say together, as far as each is right by itself."""
    workers = values.get("workers", 0)
    calls = values.get("max_concurrent_requests", workers)
    if workers > calls:
        yield (
            f"WORKERS='{workers}': must be at most MAX_CONCURRENT_REQUESTS, which is"
            f" {calls}, since each worker needs a call of its own"
        )


def _doubts(settings: Settings) -> Iterator[str]:
    base = urlsplit(settings.external_api_base)
    if base.scheme == "http" and not _is_loopback(base.hostname or ""):
        yield (
            f"EXTERNAL_API_BASE: passwords and tokens go to {base.hostname} over"
            " plain http"
        )
    if settings.metrics_token is None and not _is_loopback(settings.host):
        yield f"METRICS_TOKEN: unset, so whoever reaches {settings.host} reads /metrics"
    if any(network.prefixlen == 0 for network in settings.trusted_proxies):
        yield "TRUSTED_PROXIES: every client may choose the address it is known by"
    if settings.cache_refresh_floor_seconds > settings.cache_ttl_seconds:
        yield (
            "CACHE_REFRESH_FLOOR_SECONDS: above CACHE_TTL_SECONDS, so no-cache asks"
            " for less than an ordinary request"
        )
    if settings.shutdown_grace_seconds < settings.request_timeout_seconds:
        yield (
            "SHUTDOWN_GRACE_SECONDS: below REQUEST_TIMEOUT_SECONDS, so a stop may cut"
            " requests short"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def _written(variable: Variable, value: object) -> str:
    match value:
        case None:
            return ""
        case _ if variable.secret:
            return MASK
        case bool():
            return str(value).lower()
        case float():
            return str(value).removesuffix(".0")
        case tuple():
            return ",".join(map(str, value))
    return _without_credentials(str(value))


def _without_credentials(text: str) -> str:
    """Mask whatever of an address could be a secret: user, password, what follows ?."""
    named = re.sub(r"(?s)^([A-Za-z]+://)?.*@", rf"\1{MASK}@", text)
    return re.sub(r"(?s)([?#]).*", rf"\1{MASK}", named)
