"""The machine's clock is set: only the ends of tokens may notice."""

import asyncio
import time

import pytest

from .browser import SLOW_PATH


class TestClock:
    """A page is kept, then the clock jumps, while monotonic time goes on."""

    @pytest.mark.parametrize("hours", [-30, -6, 6, 30])
    @pytest.mark.gen_test
    async def test_a_clock_that_is_set_changes_no_answer(
        self, front, token, clock, access_lines, hours
    ):
        """What was kept is served, at its right age, and limits stay as they are."""
        first = await front.ask("/api/attendance", token)
        clock.set_wall(hours * 3600.0)
        again = await front.ask("/api/attendance", token)
        fresh = await front.ask("/api/quiz", token)
        assert [first.code, again.code, fresh.code] == [200, 200, 200]
        assert again.headers["X-Cache"] == "HIT"
        assert int(again.headers["Age"]) < 3600
        assert again.body == first.body
        assert "RateLimit" in again.headers
        levels = [line["level"] for line in access_lines.told()]
        assert set(levels) == {"info"}

    @pytest.mark.parametrize("way", [{}, SLOW_PATH], ids=["fast", "handler"])
    @pytest.mark.gen_test
    async def test_a_request_takes_no_time_from_a_clock_that_is_set(
        self, front, token, platform, worker, access_lines, monkeypatch, way
    ):
        """Set back while it is under way: no time is negative, since Prometheus takes a
        histogram's sum that goes down for a restart.
        """
        began = time.perf_counter()
        platform.hold("quizzes")
        asked = asyncio.ensure_future(front.ask("/api/quiz", token, headers=way))
        await platform.until(lambda seen: seen.in_flight)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - 3600.0)
        platform.release()
        answer = await asked
        (line,) = (each for each in access_lines.told() if each["route"] == "quiz")
        assert 0.0 <= line["seconds"] <= time.perf_counter() - began
        assert "dur=-" not in answer.headers["Server-Timing"]
        sums = [
            float(series.split()[1])
            for series in worker.metrics.exposition().decode().splitlines()
            if series.startswith("aims_request_duration_seconds_sum")
        ]
        assert min(sums) >= 0.0
