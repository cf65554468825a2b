"""What refused and failed requests leave behind in a worker: nothing."""

import asyncio
import gc

import pytest

from aims_server.deadline import Deadline
from aims_server.errors import ApiError
from aims_server.pages import ALL_ATTENDANCE, ATTENDANCE, QUIZ
from aims_server.web.sessions import Caller

from ..waiting import eventually


def callers() -> int:
    """How many requests' callers are held by anything."""
    return sum(isinstance(each, Caller) for each in gc.get_objects())


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", [None, "html"])
async def test_nothing_is_left_of_a_failed_request(worker, platform, kind):
    """Of a made-up token, or of a platform that fails: without the collector's help,
    once the failure is forgotten that equal requests share for a second.
    """
    platform.faults.set(kind=kind)

    async def ask(number):
        caller = worker.sessions.caller(f"made.up.{number}", "192.0.2.1")
        page = (ATTENDANCE, ALL_ATTENDANCE, QUIZ)[number % 3]
        with pytest.raises(ApiError):
            await worker.service.page(page, caller, Deadline(5.0))

    gc.collect()
    gc.disable()
    try:
        before = callers()
        for begin in range(0, 120, 20):
            await asyncio.gather(*(ask(begin + number) for number in range(20)))
        await eventually(lambda: callers() <= before)
    finally:
        gc.enable()
