"""Tasks that nobody awaits, and what is told of them."""

import asyncio
from contextvars import ContextVar

from aims_server.primitives import watched_task


def test_background_work_that_fails_is_told(caplog):
    """A failure of a task that nobody awaits is logged."""

    async def fail() -> None:
        raise OSError("made up")

    async def run() -> None:
        await asyncio.wait([watched_task(fail())])

    asyncio.run(run())
    (record,) = caplog.records
    assert (record.levelname, "made up" in caplog.text) == ("ERROR", True)


def test_work_that_is_cancelled_is_no_fault(caplog):
    """Its owner has ended it."""

    async def run() -> None:
        task = watched_task(asyncio.sleep(60))
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(run())
    assert not caplog.records


def test_background_work_is_of_no_request():
    """Its lines in the log, much later, have not the id of the one that began it."""
    request_id: ContextVar[str] = ContextVar("request_id", default="")
    seen = []

    async def work() -> None:
        seen.append(request_id.get())

    async def run() -> None:
        request_id.set("7f3a")
        await watched_task(work())

    asyncio.run(run())
    assert seen == [""]
