"""A relay that holds each direction of a connection back by some time, as a long line
does: ``python -m bench.relay SECONDS TARGET_PORT``; prints the port that it listens on.
"""

import asyncio
import sys
from typing import cast

import uvloop


class Side(asyncio.Protocol):
    """One end of a relayed connection: what it hears, its peer says later."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._early: list[bytes] = []
        self.peer: Side | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what the peer has heard before."""
        self.transport = cast(asyncio.Transport, transport)
        for data in self._early:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Pass it on, later."""
        assert self.peer is not None
        self._loop.call_later(self._delay, self.peer.say, data)

    def connection_lost(self, _: Exception | None) -> None:
        """Pass on the end."""
        if self.peer is not None:
            self._loop.call_later(self._delay, self.peer.end)

    def say(self, data: bytes) -> None:
        """Send what the peer has heard."""
        if self.transport is None:
            self._early.append(data)
        elif not self.transport.is_closing():
            self.transport.write(data)

    def end(self) -> None:
        """The peer's connection has ended."""
        if self.transport is not None:
            self.transport.close()


class Client(Side):
    """The side that was accepted; it connects to the target a round trip later, so that
    a new connection costs what it does over a long line.
    """

    def __init__(self, delay: float, port: int) -> None:
        super().__init__(delay)
        self._port = port
        self.peer = Side(delay)
        self.peer.peer = self
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to the target."""
        super().connection_made(transport)
        self._connecting = self._loop.create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        """The kernel has accepted at once; the first bytes wait for the handshake."""
        assert self._connecting is not None
        if self._connecting.done():
            super().data_received(data)
        else:
            self._connecting.add_done_callback(lambda _: Side.data_received(self, data))

    async def _connect(self) -> None:
        await asyncio.sleep(2 * self._delay)
        peer = self.peer
        assert peer is not None
        await self._loop.create_connection(lambda: peer, "127.0.0.1", self._port)


async def main(delay: float, port: int) -> None:
    """Relay until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(delay, port), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(float(sys.argv[1]), int(sys.argv[2])))
