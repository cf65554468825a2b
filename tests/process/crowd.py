"""Clients that behave, and an account of everything that was done to them.

They keep their connection until they are told to close it, as HTTP/1.1 asks, and they
open none to a service that says it is draining, as a balancer would not.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from itertools import takewhile
from threading import Thread
from typing import Any, NamedTuple, Self

from aims_server.demo.college import College

from ..waiting import PATIENCE_SECONDS, until


def tokens(number: int) -> list[str]:
    """Tokens of so many students of the simulated platform."""
    college = College(students=200)
    return [college.token(college.student(index)) for index in range(number)]


class Answer(NamedTuple):
    """One answer: when it was whole, from which port it was asked, its status."""

    at: float
    port: int
    status: int


class Loss(NamedTuple):
    """A request that was sent and not answered."""

    at: float
    port: int
    why: str


class Crowd:
    """Students who read ``path`` again and again while the ``with`` block lasts.

    Each has a connection of its own. The service's health is asked for on fresh ones
    meanwhile. ``balanced`` students are led elsewhere once that is bad, even from
    connections to the balancer that are still good.
    """

    def __init__(self, url: str, size: int, *, balanced: bool = False) -> None:
        self.answers: list[Answer] = []
        self.losses: list[Loss] = []
        self.refused = 0
        self.health: list[int] = []
        host, port = url.removeprefix("http://").split(":")
        self._address = (host, int(port))
        self._tokens = tokens(size)
        self._balanced = balanced
        self._draining = False
        self._stop = False
        self._thread = Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        """Begin, and wait until each has been answered once."""
        self._thread.start()
        try:
            self.wait_for_answers(1)
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let what was asked be answered, and end."""
        self._stop = True
        self._thread.join()

    @property
    def statuses(self) -> Counter[int]:
        """How often each status came."""
        return Counter(answer.status for answer in self.answers)

    @property
    def health_until_draining(self) -> set[int]:
        """What /health said before it first said 503, which it must have said."""
        assert 503 in self.health
        return set(takewhile(lambda status: status != 503, self.health))

    def wait_for_answers(self, each: int) -> None:
        """Wait until so many more have come for each student, on the average."""
        wanted = len(self.answers) + each * len(self._tokens)
        until(lambda: len(self.answers) >= wanted)

    async def _run(self) -> None:
        students = [self._student(token) for token in self._tokens]
        await asyncio.gather(*students, self._prober())

    async def _student(self, token: str) -> None:
        request = (
            "GET /api/quiz HTTP/1.1\r\nHost: service\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
        while not (self._stop or self._draining):
            try:
                async with connected(*self._address) as (reader, writer):
                    await self._use(reader, writer, request)
            except ConnectionRefusedError:
                self.refused += 1
                await asyncio.sleep(0.02)

    async def _use(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: bytes,
    ) -> None:
        """Ask on one connection until it ends or may be used no more."""
        port = writer.get_extra_info("sockname")[1]
        while not (self._stop or reader.at_eof()):
            if self._balanced and self._draining:
                return
            try:
                writer.write(request)
                status, closes = await asyncio.wait_for(
                    read_answer(reader), PATIENCE_SECONDS
                )
            except (OSError, EOFError, TimeoutError) as failure:
                self.losses.append(Loss(time.monotonic(), port, repr(failure)))
                return
            self.answers.append(Answer(time.monotonic(), port, status))
            if closes:
                return

    async def _prober(self) -> None:
        while not self._stop:
            status = await probe(*self._address)
            self.health.append(status)
            self._draining = self._draining or status == 503
            await asyncio.sleep(0.02)


class Kept:
    """A kept connection to the service; closed on both sides when ``ended``."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect."""
        host, port = url.removeprefix("http://").split(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    def send(self, path: str, token: str = "") -> None:
        """Ask."""
        bearer = f"Authorization: Bearer {token}\r\n" if token else ""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{bearer}\r\n".encode())

    async def answer(self) -> tuple[int, bool]:
        """Status, and whether the connection ends with it."""
        return await asyncio.wait_for(read_answer(self.reader), PATIENCE_SECONDS)

    async def ended(self) -> bool:
        """Wait for the end; whether it came without another byte or a reset."""
        rest = await asyncio.wait_for(self.reader.read(), PATIENCE_SECONDS)
        self.writer.close()
        await self.writer.wait_closed()
        return rest == b""


def run(visit: Coroutine[Any, Any, None]) -> None:
    """Run it in a loop of its own.

    asyncio.run() would drop the loop that pytest-tornado has made the thread's own.
    """
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(visit)


@contextlib.asynccontextmanager
async def connected(
    *address: Any, **options: Any
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection (asyncio.open_connection) that is closed whatever happens."""
    reader, writer = await asyncio.open_connection(*address, **options)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Status of a whole answer, and whether the connection ends with it."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.split("\r\n")
    headers = {
        name.lower(): value
        for name, value in (line.split(": ", 1) for line in lines[1:] if line)
    }
    await reader.readexactly(int(headers.get("content-length", 0)))
    return int(lines[0].split()[1]), headers.get("connection") == "close"


async def probe(host: str, port: int) -> int:
    """The status of /health on a fresh connection; 0 if there is none."""
    try:
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            connected(host, port) as (reader, writer),
        ):
            writer.write(
                b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            status, _ = await read_answer(reader)
    except (OSError, EOFError, TimeoutError):
        return 0
    return status
