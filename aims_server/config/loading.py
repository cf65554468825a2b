"""Reads the settings from the environment and `.env`, shows them, and doubts them."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from . import dotenv
from .faults import SettingsError
from .settings import VARIABLES, Settings

__all__ = [
    "Loaded",
    "effective",
    "load_settings",
    "nearest_variable",
    "warnings_of",
]


class Loaded(NamedTuple):
    """Settings, the file that was read if there is one, and a sentence for each thing
    in them that is allowed but probably not intended.
    """

    settings: Settings
    source: Path | None
    warnings: tuple[str, ...]


def load_settings(directory: Path, environ: Mapping[str, str]) -> Loaded:
    """Read the ``.env`` of this very directory, if there is one; `environ` wins.

    A variable that `environ` sets wins even when it is empty: it then means the
    default. Raises `SettingsError` with the faults of both.
    """
    path = directory.absolute() / ".env"
    file = dotenv.read(path)
    values = {} if file is None else file.values
    faults = [] if file is None else [*file.faults, *_unknown(path, values)]
    try:
        settings = Settings.from_mapping({**values, **environ})
    except SettingsError as error:
        raise SettingsError((*faults, *error.faults)) from None
    if faults:
        raise SettingsError(tuple(faults))
    repeated = () if file is None else file.repeated
    warnings = (*repeated, *_doubtful_names(environ), *warnings_of(settings))
    return Loaded(settings, None if file is None else path, warnings)


def nearest_variable(name: str, *, cutoff: float = 0.0) -> str | None:
    """The variable whose name is most like ``name``, which none has; None if none is
    so much like it, between 0 and 1.

    >>> nearest_variable("log-levle")
    'LOG_LEVEL'
    """
    from difflib import get_close_matches  # rarely needed, and slow to import

    names = [variable.name for variable in VARIABLES]
    name = name.upper().replace("-", "_")
    return next(iter(get_close_matches(name, names, 1, cutoff=cutoff)), None)


def _doubtful_names(environ: Mapping[str, str]) -> Iterator[str]:
    """One sentence for each name in the environment that is nearly a variable's: with
    systemd's EnvironmentFile= that is a misspelt setting, but it may be another
    program's.
    """
    known = [variable.name for variable in VARIABLES]
    for name in environ:
        if "_" not in name or name in known:
            continue
        longer = (full for full in known if full.startswith(f"{name}_"))
        nearest = next(longer, None) or _alike(name, known)
        if nearest:
            yield f"{name[:80]!a}: no such variable; the nearest is {nearest}"


def _alike(name: str, known: list[str]) -> str | None:
    # The first question is cheap, and spares an ordinary start difflib's import.
    if not any(
        full[:2] == name[:2] and abs(len(full) - len(name)) < 3 for full in known
    ):
        return None
    return nearest_variable(name, cutoff=0.85)


def _unknown(path: Path, written: Mapping[str, str]) -> Iterator[str]:
    known = {variable.name for variable in VARIABLES}
    for name in written:
        if name not in known:
            shown, nearest = ascii(name[:80]), nearest_variable(name[:80])
            yield f"{path}: {shown}: no such variable; the nearest is {nearest}"


def effective(settings: Settings) -> list[tuple[str, str]]:
    """Each variable's name and value as it would be written, secrets masked."""
    return [(row.name, row.format(getattr(settings, row.field))) for row in VARIABLES]


def warnings_of(settings: Settings) -> Iterator[str]:
    """What is allowed but probably not intended, one sentence each."""
    base = urlsplit(settings.external_api_base)
    if base.scheme == "http" and not _is_loopback(base.hostname or ""):
        yield (
            f"EXTERNAL_API_BASE: passwords and tokens go to {base.hostname} over"
            " plain http"
        )
    store = settings.store_url
    hosts = [] if store is None or store.tls else [host for host, _ in store.hosts]
    for host in [host for host in hosts if not _is_loopback(host)][:1]:
        yield f"STORE_URL: its password goes to {host} without TLS"
    public = [host for host in settings.hosts if not _is_loopback(host)]
    if settings.metrics_token is None and public:
        pages = "/metrics and /status" if settings.status_page else "/metrics"
        yield f"METRICS_TOKEN: unset, so whoever reaches {public[0]} reads {pages}"
    elif settings.metrics_token is None and settings.status_page:
        # The proxies of conf/ keep /metrics to themselves, and not this.
        yield "METRICS_TOKEN: unset, so whoever a proxy lets through reads /status"
    if any(
        proxy != "unix" and not proxy.prefixlen for proxy in settings.trusted_proxies
    ):
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
