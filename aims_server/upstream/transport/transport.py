"""One HTTP call to the platform over a pool of curl handles: a Reply, or one of our
errors.
"""

import logging
import os
import time
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Final

from .causes import error_of
from .certificates import TrustedAuthorities
from .curl_pool import CurlPool, Reply, Request
from .kept_connections import CONNECTION_SECONDS

__all__ = ["MAX_BODY_BYTES", "Reply", "Transport"]

_log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
_CONNECT_SECONDS: Final = 5.0


class Transport:
    """The curl pool of one worker.

    >>> async def example():
    ...     transport = Transport(1, "an example")
    ...     try:
    ...         await transport.fetch("http://127.0.0.1:1/", headers={}, seconds=5.0)
    ...     except UpstreamUnreachable as error:
    ...         print(error.cause.kind)
    ...     transport.close()
    >>> import asyncio
    >>> from ...errors import UpstreamUnreachable
    >>> asyncio.run(example())
    refused

    Make it after the fork: a curl handle shared by two processes gives one the other's
    answers. ``handles`` should be the greatest number of calls ever made at once,
    because the pool's queue has no deadline. Without ``proxy`` none is used, whatever
    the environment says; ``authorities`` are certificates (PEM) that are trusted beside
    the system's.
    """

    def __init__(
        self,
        handles: int,
        user_agent: str,
        *,
        proxy: str = "",
        authorities: bytes = b"",
    ) -> None:
        self._owner = os.getpid()
        self._user_agent = user_agent
        self._handles = handles
        self._proxy = proxy
        self._authorities = TrustedAuthorities(authorities) if authorities else None
        self._fresh_until = 0.0  # by time.monotonic()

    @cached_property
    def _pool(self) -> CurlPool:
        # Made with the first call: curl takes 3 ms, which a start need not wait for.
        return CurlPool(
            force_instance=True,
            max_clients=self._handles,
            max_body_size=MAX_BODY_BYTES,
            headers={"User-Agent": self._user_agent, "Accept": "application/json"},
            proxy=self._proxy,
            ca_file=self._authorities.path if self._authorities else "",
        )

    async def fetch(
        self,
        url: str,
        *,
        headers: dict[str, str],
        seconds: float,
        body: bytes | None = None,
        fresh: bool = False,
    ) -> Reply:
        """Make one call within ``seconds``, connecting included: a GET, or a POST of
        ``body``; on a new connection if ``fresh``. Cancelling it closes an HTTP/1
        connection.

        Raises :class:`UpstreamTimeout`, :class:`UpstreamUnreachable` if no connection
        could be made (within 5 s at most), :class:`UpstreamDropped` if it broke, and
        :class:`UpstreamError` for an answer that is not HTTP, is larger than 8 MB
        unpacked, or is badly compressed.
        """
        if os.getpid() != self._owner:
            raise RuntimeError("a curl pool must not cross a fork")
        fresh = fresh or time.monotonic() < self._fresh_until
        outcome = await self._pool.call(
            Request(url, headers, body, seconds, _CONNECT_SECONDS, fresh)
        )
        if isinstance(outcome, Reply):
            return outcome
        raise error_of(outcome, seconds, connect_seconds=_CONNECT_SECONDS)

    def prepare(self, url: str) -> None:
        """Open a connection before the first call to ``url``."""
        self._pool.preconnections.prepare(url)

    def expect(self, url: str, calls: int) -> AbstractContextManager[None]:
        """Open connections while the block runs, for so many GETs to the host of
        ``url`` that will be made at once when it ends.
        """
        return self._pool.preconnections.expect(url, calls)

    def abandon(self, reply: Reply) -> bool:
        """Whether a wrong reply may answer an earlier request on its connection. If so,
        the connection is not used again, and the call is worth making once more on a
        ``fresh`` one.
        """
        if reply.connection is None:
            return False
        self._pool.abandon(reply.connection)
        return True

    def distrust_kept(self) -> None:
        """Make each call on a new connection until all that are kept now are too old
        for calls: one was answered with the answer to another, which cannot be seen of
        answers that name nobody.
        """
        _log.warning(
            "The platform answered a call with the answer to an earlier one: for a"
            " minute each call has a connection of its own"
        )
        self._fresh_until = time.monotonic() + CONNECTION_SECONDS

    def close(self) -> None:
        """Drop every connection; calls under way never end, so cancel them before."""
        if "_pool" in vars(self):
            self._pool.close()
        if self._authorities is not None:
            self._authorities.close()
