"""Warns of settings that are allowed but probably not intended."""

import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias
from urllib.parse import urlsplit

from .parsers import DEFAULT_PORTS
from .settings import Settings

__all__ = ["warnings_of"]

Address: TypeAlias = IPv4Address | IPv6Address | str


def warnings_of(settings: Settings) -> Iterator[str]:
    """One sentence for each thing that is probably not intended."""
    yield from _exposed(settings)
    yield from _contradictory(settings)
    yield from _without_effect(settings)


def _exposed(settings: Settings) -> Iterator[str]:
    """Settings that let too many read or write."""
    base = urlsplit(settings.external_api_base)
    if base.scheme == "http" and not _is_loopback(base.hostname or ""):
        yield (
            f"EXTERNAL_API_BASE: passwords and tokens go to {base.hostname} over"
            " plain http"
        )
    store = settings.store_url
    hosts = [] if store is None or store.tls else [host for host, _ in store.hosts]
    for host in [host for host in hosts if not _is_loopback(host)][:1]:
        yield f"STORE_URL: all goes to {host} without TLS, a password too"
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


def _contradictory(settings: Settings) -> Iterator[str]:
    """Settings that conflict with others."""
    base = urlsplit(settings.external_api_base)
    port = base.port or DEFAULT_PORTS[base.scheme]
    if port == settings.port and _is_listened_on(base.hostname or "", settings.hosts):
        yield "EXTERNAL_API_BASE: leads to this service itself, by HOST and PORT"
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
    address_limit = settings.rate_limit_per_address_per_minute
    if settings.rate_limit_per_minute > address_limit:
        yield (
            "RATE_LIMIT_PER_MINUTE: above RATE_LIMIT_PER_ADDRESS_PER_MINUTE, which is"
            f" {address_limit} and limits a student before it"
        )


def _without_effect(settings: Settings) -> Iterator[str]:
    """Settings that other settings make useless."""
    store = settings.store_url
    if store is None:
        for name, value in (
            ("STORE_SECRET", settings.store_secret),
            ("STORE_CA_FILE", settings.store_ca_file),
        ):
            if value is not None:
                yield f"{name}: has no effect without STORE_URL"
    elif store.user and not store.password:
        yield (
            "STORE_URL: its user has no password and is not told (a password alone is"
            " written redis://:password@host)"
        )
    if store is not None and settings.store_ca_file is not None and not store.tls:
        yield "STORE_CA_FILE: has no effect, since STORE_URL is not rediss://"
    is_http = settings.external_api_base.startswith("http:")
    if settings.external_api_ca_file is not None and is_http:
        yield "EXTERNAL_API_CA_FILE: has no effect, since EXTERNAL_API_BASE is http"


def _is_listened_on(host: str, hosts: Iterable[str]) -> bool:
    """Whether ``host`` is one of ``hosts``, or they are all of this machine's addresses
    and it is one of these.
    """
    listened = {address for each in hosts for address in _addresses(each)}
    return any(
        address in listened
        or (
            not isinstance(address, str)
            and ip_address("::" if address.version == 6 else "0.0.0.0") in listened
            and _is_of_this_machine(address)
        )
        for address in _addresses(host)
    )


def _addresses(host: str) -> Iterator[Address]:
    """The addresses known without a look-up; a name stands for itself."""
    try:
        yield ip_address(host)
    except ValueError:
        if _is_loopback(host):
            yield from (ip_address("127.0.0.1"), ip_address("::1"))
        else:
            yield host.lower()


def _is_of_this_machine(address: IPv4Address | IPv6Address) -> bool:
    """Whether this machine has the address: only then can a socket be bound to it."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
