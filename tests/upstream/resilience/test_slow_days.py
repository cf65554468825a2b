"""Pages over the whole policy on a slow day, in virtual time: two round trips, the
second of fifteen calls at once, for some students at a time.
"""

import asyncio
import math
import random
from statistics import mean
from typing import NamedTuple

import pytest

from aims_server.deadline import Deadline
from aims_server.errors import (
    ApiError,
    UpstreamBusy,
    UpstreamDropped,
    UpstreamTimeout,
)
from aims_server.upstream.resilience import CallerKey
from aims_server.upstream.resilience.admission import Admission
from aims_server.upstream.resilience.bulkhead import Bulkhead
from aims_server.upstream.resilience.endpoint_breakers import EndpointBreakers
from aims_server.upstream.resilience.policy import ResiliencePolicy
from aims_server.upstream.resilience.retry import RetryBudget
from tests.upstream.resilience.bench import Told
from tests.virtual_time import Clock, VirtualLoop

SUBJECTS = 15
CALM_MEDIAN, CALM_P95 = 0.56, 0.70  # seconds, measured here


class Platform:
    """Latency drawn from a shape; some calls hang or fail."""

    def __init__(
        self, seed, *, median=0.2, sigma=0.3, hangs=0.0, fails=0.0, fault=None
    ):
        self._random = random.Random(seed)
        self._median, self._sigma = median, sigma
        self._hangs, self._fails, self._fault = hangs, fails, fault

    async def __call__(self, seconds, *, fresh):
        """One call."""
        draw = self._random
        took = self._median * math.exp(self._sigma * draw.gauss(0, 1))
        if draw.random() < self._hangs or took > seconds:
            await asyncio.sleep(seconds)
            raise UpstreamTimeout
        await asyncio.sleep(took)
        if draw.random() < self._fails:
            assert self._fault
            raise self._fault
        return "answer"


class Day(NamedTuple):
    """What a number of pages came to."""

    whole: float
    median: float
    p95: float
    calls: float


def live(platform, *, students=8, rounds=12):
    """Load cold pages of that many students at once, some times over."""
    clock = Clock()
    loop = VirtualLoop(clock)
    told = Told()
    retries = RetryBudget(clock=clock)
    policy = ResiliencePolicy(
        Admission(
            Bulkhead(100, clock=clock),
            EndpointBreakers(["course_files", "cards"], clock=clock),
            clock=clock,
        ),
        told,
        retries=retries,
        hedges=retries.for_hedges(),
        random=random.Random(5).random,
        clock=clock,
    )
    times, whole = [], 0

    async def page(number):
        nonlocal whole
        began, deadline = clock.now, Deadline(10.0, clock)
        caller = CallerKey.student(number)

        async def call(endpoint):
            try:
                return await policy.call(endpoint, caller, platform, deadline)
            except ApiError:
                return None

        if await call("course_files"):
            had = await asyncio.gather(*(call("cards") for _ in range(SUBJECTS)))
            whole += None not in had
        times.append(clock.now - began)

    async def day():
        for turn in range(rounds):
            numbers = range(turn * students, (turn + 1) * students)
            await asyncio.gather(*map(page, numbers))
            await asyncio.sleep(1)

    loop.run_until_complete(day())
    loop.close()
    times.sort()
    pages = students * rounds
    return Day(
        whole / pages,
        times[pages // 2],
        times[int(pages * 0.95)],
        len(told.calls) / pages,
    )


@pytest.mark.parametrize(
    ("shape", "whole", "median", "p95", "calls"),
    [
        ({}, 1.0, 1.1 * CALM_MEDIAN, 1.1 * CALM_P95, 16.6),
        ({"hangs": 0.01}, 1.0, 1.2 * CALM_MEDIAN, 1.6 * CALM_P95, 17.0),
        ({"hangs": 0.05}, 0.97, 1.6 * CALM_MEDIAN, 2.2 * CALM_P95, 17.8),
        ({"hangs": 0.2}, 0.94, 2.3 * CALM_MEDIAN, 10 * CALM_P95, 19.5),
        ({"median": 0.3, "sigma": 1.2}, 1.0, 2.7, 0.55 * 8.7, 17.6),
        ({"fails": 0.2, "fault": UpstreamBusy()}, 0.95, 1.2, 2.7 * CALM_P95, 21.0),
        ({"fails": 0.1, "fault": UpstreamDropped()}, 1.0, 0.8, 1.3, 18.5),
    ],
    ids=[
        "calm",
        "1 % hang",
        "5 % hang",
        "20 % hang",
        "heavy tail",
        "20 % of 503",
        "10 % resets",
    ],
)
def test_a_slow_day_is_hardly_noticed(shape, whole, median, p95, calls):
    """Latency is near that of a calm day, for a few calls more (mean of eight days)."""
    days = [live(Platform(seed, **shape)) for seed in range(8)]
    assert mean(day.whole for day in days) >= whole
    assert mean(day.median for day in days) <= median
    assert mean(day.p95 for day in days) <= p95
    assert mean(day.calls for day in days) <= calls


@pytest.mark.parametrize("seconds", [2.0, 4.0])
def test_a_platform_that_is_slow_throughout_gets_no_more_calls(seconds):
    """A page takes two round trips, and one call for each answer."""
    day = live(Platform(1, median=seconds, sigma=0.01), students=6, rounds=2)
    assert day.whole == 1.0
    assert day.p95 <= 1.05 * 2 * seconds
    assert day.calls == 16.0
