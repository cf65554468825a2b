"""Owns one connection to a Valkey or Redis server, shared by all who call in a turn.

redis-py speaks the protocol: TLS, ACL users, Sentinel. Its pool does not fit: with 16
connections and 50 ms of patience 200 students cost up to three calls each where one
will do, since it ran dry, and a cancelled caller may leave an answer behind on a
connection. Here callers never hold the connection.
"""

import asyncio
import contextlib
import ssl
from typing import Any, Final

from redis.asyncio import Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelManagedSSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from ..primitives import StoreAddress
from .reasons import reason_of

__all__ = [
    "Connection",
    "Overdue",
    "Refused",
    "StoreError",
    "close_client",
    "end",
    "open_client",
    "tls_context",
]

# A server that says nothing for so long is given up together with its connection.
# redis-py's defaults gave no answer within 100 s from one that was frozen.
_SILENCE_SECONDS: Final = 1.0


class StoreError(Exception):
    """The server did not answer, or what came was no answer."""


class Overdue(StoreError):
    """The server was not asked, since it owes an answer to others for too long."""


class Refused(StoreError):
    """The server answered that it will not: out of memory, no permission, read only."""


def tls_context(address: StoreAddress, ca_file: str | None) -> ssl.SSLContext | None:
    """The authorities to trust if the address asks for TLS: those in ``ca_file``
    alone, or without one the system's.

    Made once for all connections. redis-py makes one for each, which takes 17 ms of the
    event loop since it loads the system's authorities first, and trusts them as well.
    """
    return ssl.create_default_context(cafile=ca_file) if address.tls else None


class _Prepared(SSLConnection):
    """A connection by TLS with a context that is made."""

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = context


class _PreparedBySentinel(SentinelManagedSSLConnection, _Prepared):
    """The same to the primary that the sentinels name."""


def open_client(
    address: StoreAddress,
    *,
    tls: ssl.SSLContext | None = None,
    silence: float | None = _SILENCE_SECONDS,
) -> Redis:
    """A client of redis-py that connects when it is first used, and never retries.

    ``tls`` is the `tls_context` of this address, and ``silence`` how many seconds the
    server may let an answer wait.
    """
    client = _client(address, silence)
    if tls is not None:
        for pool in _pools(client):
            watched = issubclass(pool.connection_class, SentinelManagedSSLConnection)
            pool.connection_class = _PreparedBySentinel if watched else _Prepared
            pool.connection_kwargs["context"] = tls
    return client


def _client(address: StoreAddress, silence: float | None) -> Redis:
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


class _Call:
    """A command and its caller's future."""

    __slots__ = ("answer", "command")

    def __init__(self, command: tuple[Any, ...], answer: "asyncio.Future[Any]") -> None:
        self.command = command
        self.answer = answer


class Connection:
    """Sends the commands of all callers as one pipeline a turn.

    Make it inside the event loop, after the fork. To cancel a caller, or to let one's
    time run out, cannot spoil the connection: a late answer finds nobody and is gone.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._waiting: list[_Call] = []
        self._sending = False
        # For how long somebody has waited in vain for what is being sent.
        self._overdue = 0.0
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._send_for_ever())

    async def call(self, *command: Any, seconds: float) -> Any:
        """The server's answer to one command.

        Raises `StoreError` when there is none in so many seconds, `Refused`. Behind
        calls for which somebody has waited as long in vain it does not wait: a page
        whose parts are looked up one after the other would wait for each of them.
        """
        if self._overdue >= seconds:
            raise Overdue("no answer in time to earlier calls")
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(command, answer))
        self._wake.set()
        try:
            await asyncio.wait((answer,), timeout=seconds)
        finally:
            # What is not sent yet need not be; what failed meanwhile has been seen.
            if not answer.cancel() and not answer.cancelled():
                answer.exception()
        if answer.cancelled():
            if self._sending:
                self._overdue = max(self._overdue, seconds)
            raise StoreError("no answer in time")
        return answer.result()

    async def close(self) -> None:
        """End the connection; callers get `StoreError`."""
        await end(self._task)
        _fail(self._waiting, "closed")
        self._waiting = []
        await close_client(self._client)

    async def _send_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            calls = [call for call in self._waiting if not call.answer.done()]
            self._waiting = []
            if calls:
                self._sending = True
                try:
                    await self._send(calls)
                finally:
                    self._sending, self._overdue = False, 0.0

    async def _send(self, calls: list[_Call]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command(*call.command)
        try:
            answers = await pipeline.execute(raise_on_error=False)
        except asyncio.CancelledError:
            _fail(calls, "closed")
            raise
        except Exception as error:  # noqa: BLE001 - a broken answer raises anything
            _fail(calls, reason_of(error))
            # What follows on this connection might be taken for other calls' answers.
            with contextlib.suppress(RedisError, OSError):
                await self._client.connection_pool.disconnect()
            return
        for call, answer in zip(calls, answers, strict=True):
            if call.answer.done():
                continue
            if isinstance(answer, ResponseError):
                call.answer.set_exception(Refused(reason_of(answer)))
            elif isinstance(answer, Exception):
                call.answer.set_exception(StoreError(reason_of(answer)))
            else:
                call.answer.set_result(answer)


async def end(*tasks: "asyncio.Task[None]") -> None:
    """Cancel tasks that use redis-py, and wait for their end. While it connects it may
    swallow a cancellation and go on, so that one is not always enough.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=0.05)


def _fail(calls: list[_Call], reason: str) -> None:
    for call in calls:
        if not call.answer.done():
            call.answer.set_exception(StoreError(reason))
