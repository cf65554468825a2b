"""Opens and closes clients of redis-py for a `StoreAddress`: over TCP, with TLS, on a
Unix socket, or by the primary that sentinels name.
"""

import contextlib
import ssl
from typing import Any, Final

from redis.asyncio import Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelManagedSSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ..primitives import StoreAddress

__all__ = ["close_client", "open_client", "tls_context"]

# A connection on which the server is silent for so long is given up. With redis-py's
# defaults a frozen server was not given up within 100 s.
_SILENCE_SECONDS: Final = 1.0


def tls_context(address: StoreAddress, ca_file: str | None) -> ssl.SSLContext | None:
    """The trusted authorities if the address asks for TLS: those in ``ca_file`` only,
    or without a file the system's.

    Made once for all connections. redis-py would make one for each, which takes 17 ms
    since it loads the system's authorities first, and trusts them as well.
    """
    return ssl.create_default_context(cafile=ca_file) if address.tls else None


class _Prepared(SSLConnection):
    """A TLS connection with a given context."""

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = context


class _PreparedBySentinel(SentinelManagedSSLConnection, _Prepared):
    """The same, to the primary that the sentinels name."""


def open_client(
    address: StoreAddress,
    *,
    tls: ssl.SSLContext | None = None,
    silence: float = _SILENCE_SECONDS,
) -> Redis:
    """A client of redis-py that connects when it is first used, and never retries.

    ``tls`` is the `tls_context` of this address. A connection is closed if it waits for
    a byte of an answer for ``silence`` seconds.
    """
    client = _client(address, silence)
    if tls is not None:
        for pool in _pools(client):
            watched = issubclass(pool.connection_class, SentinelManagedSSLConnection)
            pool.connection_class = _PreparedBySentinel if watched else _Prepared
            pool.connection_kwargs["context"] = tls
    return client


def _client(address: StoreAddress, silence: float) -> Redis:
    options: dict[str, Any] = {
        "db": address.database,
        "username": address.user,
        "password": address.password,
        "protocol": 2,  # no greeting, no pushed messages
        "driver_info": None,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": _SILENCE_SECONDS,
        "socket_timeout": silence,
    }
    if address.tls:
        options["ssl"] = True
    if address.sentinel is not None:
        # The sentinels of a site are asked in clear or by TLS as the server is.
        asking = {
            name: value
            for name, value in options.items()
            if name.startswith(("socket_", "ssl", "retry", "protocol", "driver"))
        } | {"socket_timeout": _SILENCE_SECONDS}
        sentinels: Any = Sentinel  # it has no types
        client: Redis = sentinels(
            address.hosts, sentinel_kwargs=asking, **options
        ).master_for(address.sentinel)
        return client
    if address.path is not None:
        return Redis(unix_socket_path=address.path, **options)
    host, port = address.hosts[0]
    return Redis(host=host, port=port, **options)


async def close_client(client: Redis) -> None:
    """Close its connections, those to sentinels too."""
    for pool in _pools(client):
        with contextlib.suppress(RedisError, OSError):
            await pool.disconnect()


def _pools(client: Redis) -> list[Any]:
    """The pools of a client, those to sentinels too."""
    pools = [client.connection_pool]
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    if manager is not None:
        pools += [sentinel.connection_pool for sentinel in manager.sentinels]
    return pools
