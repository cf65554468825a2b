"""One HTTP call to the platform over a pool of curl handles: a Reply, or one of our
errors.
"""

import os
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Final

from .causes import error_of
from .certificates import TrustedAuthorities
from .curl_pool import CurlPool, Reply, Request

__all__ = ["MAX_BODY_BYTES", "Reply", "Transport"]

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

    Made after the fork, in the worker that uses it: a curl handle that crosses a fork
    hands one process the other's answers. ``handles`` should be at least the number
    of calls ever made at once, because the pool's own line knows no deadline. Without
    ``proxy`` none is used, whatever the environment says; ``authorities`` are
    certificates in PEM form to be trusted beside the system's.
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

    @cached_property
    def _pool(self) -> CurlPool:
        # With the first call: curl takes 3 ms to begin, which a start would wait for.
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
        apart: bool = False,
        fresh: bool = False,
    ) -> Reply:
        """Make one call within ``seconds``, connecting included: GET, or POST of a
        ``body``. Cancelled, it takes its connection along. ``apart`` keeps it from the
        connections that carry other calls now, ``fresh`` from all that there are.

        Raises :class:`UpstreamTimeout`, :class:`UpstreamUnreachable` when no connection
        could be made (in 5 s, if there are as many), :class:`UpstreamDropped` when it
        broke, :class:`UpstreamError` for an answer that is no HTTP, larger than 8 MB
        unpacked, or badly compressed.
        """
        if os.getpid() != self._owner:
            raise RuntimeError("a curl pool must not cross a fork")
        outcome = await self._pool.call(
            Request(url, headers, body, seconds, _CONNECT_SECONDS, apart, fresh)
        )
        if isinstance(outcome, Reply):
            return outcome
        raise error_of(outcome, seconds, connect_seconds=_CONNECT_SECONDS)

    def prepare(self, url: str) -> None:
        """Do before the first call to ``url`` what can be done without it."""
        self._pool.preconnections.prepare(url)

    def expect(self, url: str, calls: int) -> AbstractContextManager[None]:
        """Open connections while the block runs: when it ends, so many GETs to the host
        of ``url`` will be made at once.
        """
        return self._pool.preconnections.expect(url, calls)

    def abandon(self, reply: Reply) -> bool:
        """Whether a reply that names another student may be the answer to an earlier
        request on its connection. If so, that connection is not used again, and it is
        worth asking once more, on a ``fresh`` one.
        """
        if reply.connection is None:
            return False
        self._pool.abandon(reply.connection)
        return True

    def close(self) -> None:
        """Drop every connection; calls under way never end, so cancel them before."""
        if "_pool" in vars(self):
            self._pool.close()
        if self._authorities is not None:
            self._authorities.close()
