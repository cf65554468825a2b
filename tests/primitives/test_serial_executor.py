"""Heavy work is done in turns, so that nobody waits for the sum of it."""

import asyncio
from functools import partial
from itertools import pairwise

import pytest

from aims_server.primitives.serial_executor import SerialExecutor

pytestmark = pytest.mark.gen_test


async def test_a_turn_gives_the_works_result():
    """A run returns the work's result, or raises its error."""
    turns = SerialExecutor()
    assert await turns.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await turns.run(lambda: 1 // 0)


async def test_one_piece_of_work_in_a_turn_of_the_loop():
    """Fifteen answers that came at once are worked up in fifteen turns, and what
    else the loop has to do gets its turn after each.
    """
    turns = SerialExecutor()
    seen: list[str] = []

    async def others() -> None:
        while seen.count("work") < 15:
            seen.append("other")
            await asyncio.sleep(0)

    work = [turns.run(lambda: seen.append("work")) for _ in range(15)]
    await asyncio.gather(*work, others())
    assert ("work", "work") not in pairwise(seen)


async def test_work_is_done_in_the_order_of_asking():
    """Work is done in the order of its coming."""
    turns = SerialExecutor()
    seen: list[int] = []
    await asyncio.gather(*(turns.run(partial(seen.append, n)) for n in range(10)))
    assert seen == list(range(10))


async def test_failed_work_holds_nobody_up():
    """The next piece of work has its turn all the same."""
    turns = SerialExecutor()
    results = await asyncio.gather(
        turns.run(lambda: 1 // 0), turns.run(lambda: 7), return_exceptions=True
    )
    assert isinstance(results[0], ZeroDivisionError)
    assert results[1] == 7


async def test_who_leaves_the_line_holds_nobody_up():
    """A cancelled asker's work is not done, the others' is."""
    turns = SerialExecutor()
    seen: list[int] = []
    tasks = [asyncio.create_task(turns.run(partial(seen.append, n))) for n in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert seen == [0, 2]


async def test_long_work_is_interrupted_after_a_millisecond():
    """Steps follow each other within it; what else the loop has to do comes between."""
    now = 0.0
    seen: list[str] = []

    def steps():
        nonlocal now
        for _ in range(6):
            seen.append("step")
            now += 0.0004
            yield
        return len(seen)

    async def others() -> None:
        while seen.count("step") < 6:
            seen.append("other")
            await asyncio.sleep(0)

    executor = SerialExecutor(clock=lambda: now)
    await asyncio.gather(others(), executor.run_steps(steps()))
    others_at = [n for n, what in enumerate(seen) if what == "other"]
    runs = [after - before - 1 for before, after in pairwise([*others_at, len(seen)])]
    assert runs == [3, 3]


async def test_no_other_work_between_two_steps():
    """What was begun is finished first: its memory is given back the sooner."""
    seen: list[int] = []

    def steps(number):
        for _ in range(3):
            seen.append(number)
            yield

    executor = SerialExecutor(clock=iter(range(100)).__next__)  # one step a turn
    await asyncio.gather(*(executor.run_steps(steps(n)) for n in range(2)))
    assert seen == [0, 0, 0, 1, 1, 1]
