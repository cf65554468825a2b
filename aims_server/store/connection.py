"""Owns one connection to a Valkey or Redis server, which all calls of a turn share.

redis-py speaks the protocol: TLS, ACL users, Sentinel. Its pool does not fit: with 16
connections and 50 ms of patience it ran empty, and 200 students took up to three calls
each instead of one. A cancelled caller may also leave an answer behind on a pooled
connection. Here callers never hold the connection.
"""

import asyncio
import contextlib
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from ..primitives import done_within, watched_task
from .reasons import reason_of
from .redis_clients import close_client

__all__ = ["Connection", "Overdue", "Refused", "StoreError", "end"]


class StoreError(Exception):
    """The server did not answer, or what arrived was no answer."""


class Overdue(StoreError):
    """The command was not sent: the answer to a call that timed out is still due."""


class Refused(StoreError):
    """The server refuses the command: out of memory, no permission, read only."""


class _Call(NamedTuple):
    """A command and its caller's future."""

    command: tuple[Any, ...]
    answer: "asyncio.Future[Any]"


class Connection:
    """Sends the commands of all callers as one pipeline a turn.

    >>> from ..primitives import StoreAddress
    >>> from .redis_clients import open_client
    >>> async def example():
    ...     nobody = open_client(StoreAddress.parse("redis://127.0.0.1:1"))
    ...     connection = Connection(nobody)
    ...     try:
    ...         await connection.call("PING", seconds=1.0)
    ...     except StoreError as error:
    ...         print(error)
    ...     await connection.close()
    >>> asyncio.run(example())
    Connection refused

    Make it inside the event loop, after the fork. A caller that is cancelled or times
    out does not spoil the connection: its late answer is dropped.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._waiting: list[_Call] = []
        # Whether a caller has timed out while the last commands are unanswered.
        self._overdue = False
        self._wake = asyncio.Event()
        self._task = watched_task(self._send_for_ever())

    async def call(self, *command: Any, seconds: float) -> Any:
        """The server's answer to one command.

        Raises `StoreError` if there is none within ``seconds``, `Refused` if the server
        refuses the command, and `Overdue` at once while the answer to a call that timed
        out is due: otherwise a page would wait for each of its parts in turn.
        """
        if self._overdue:
            raise Overdue("no answer in time to earlier calls")
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(command, answer))
        self._wake.set()
        try:
            await done_within(answer, seconds)
        finally:
            # What is not sent yet need not be; what failed meanwhile has been seen.
            if not answer.cancel():
                answer.exception()
        if answer.cancelled():
            self._overdue = True
            raise StoreError("no answer in time")
        return answer.result()

    async def close(self) -> None:
        """End the connection; callers get `StoreError`."""
        await end(self._task)
        _fail(self._waiting, "closed")
        await close_client(self._client)

    async def _send_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            calls = [call for call in self._waiting if not call.answer.done()]
            self._waiting = []
            await self._send(calls)
            self._overdue = False

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
            # What follows on this connection could be taken for other calls' answers.
            await self._disconnect()
            return
        for call, answer in zip(calls, answers, strict=True):
            if call.answer.done():
                continue
            if isinstance(answer, ResponseError):
                call.answer.set_exception(Refused(reason_of(answer)))
            else:
                call.answer.set_result(answer)
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            # The server's name may lead to another primary by now, and this connection
            # would last as long as the former one.
            await self._disconnect()

    async def _disconnect(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._client.connection_pool.disconnect()


async def end(*tasks: "asyncio.Task[None]") -> None:
    """Cancel tasks that use redis-py, and wait for their end. It may swallow a
    cancellation while it connects, so cancel again if need be.
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
