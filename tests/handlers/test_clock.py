"""The machine's clock is set: only the ends of tokens may notice."""

import pytest


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

    @pytest.mark.gen_test
    async def test_a_token_ends_by_the_clock_of_the_wall(self, front, token, clock):
        """Past its own end nothing is kept for it."""
        clock.set_wall(800 * 86_400.0)  # the platform gives tokens for 700 days
        for _ in range(2):
            answer = await front.ask("/api/attendance", token)
            assert answer.headers.get("X-Cache") != "HIT"
