"""The loop of a worker without uvloop, while no name server answers."""

import asyncio
import socket
import threading

import pytest

from aims_server.process.event_loop import AsyncioLoop, started_threads

from ..waiting import PATIENCE_SECONDS


@pytest.fixture(name="loop")
def _loop(monkeypatch):
    """A worker's loop with its threads; a name is found when the test is over."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait() and [])
    loop = AsyncioLoop(started_threads(1))
    packing = started_threads(2)
    loop.set_default_executor(packing)
    yield loop
    loop.close()
    over.set()
    packing.shutdown()


async def looked_up():
    """Three names that a store may have, as asyncio asks for them."""
    loop = asyncio.get_running_loop()
    names = [
        asyncio.create_task(loop.getaddrinfo(f"store-{n}.invalid", 6379, type=0))
        for n in range(3)
    ]
    await asyncio.sleep(0)
    return names


def test_names_that_nobody_answers_for_hold_no_answer_up(loop):
    """What is packed in a thread is packed at once."""

    async def packed():
        names = await looked_up()
        async with asyncio.timeout(PATIENCE_SECONDS):
            result = await asyncio.to_thread(lambda: "packed")
        for name in names:
            name.cancel()
        return result

    assert loop.run_until_complete(packed()) == "packed"
