"""The service before a platform that fails, stalls, or is gone."""

import asyncio
import json

import pytest

from aims_server.demo.college import College
from aims_server.demo.platform import SimulatedPlatform
from aims_server.upstream.resilience import CallerKey

from ..waiting import eventually


async def ask_all(front, college: College, numbers, path="/api/attendance"):
    """One request for each student, all at once."""
    return await asyncio.gather(
        *(front.ask(path, college.token(college.student(n))) for n in numbers)
    )


@pytest.mark.settings(RATE_LIMIT_PER_ADDRESS_PER_MINUTE="100000")
class TestFailing:
    """Calls fail."""

    @pytest.mark.gen_test
    async def test_one_call_in_five_fails(
        self, front, college, platform: SimulatedPlatform
    ):
        """All of 200 cold requests succeed, at 1.45 calls each at most, though all come
        from one address and nobody is verified.
        """
        platform.faults.set(kind="status", status=503, share=0.2)
        answers = []
        for start in range(0, 200, 10):
            answers += await ask_all(front, college, range(start, start + 10))
        good = sum(answer.code == 200 for answer in answers)
        assert good == 200
        assert platform.counters.total <= 1.45 * 200

    @pytest.mark.gen_test
    async def test_a_dead_platform_is_left_alone(
        self, front, college, platform: SimulatedPlatform, clock
    ):
        """400 requests of students make under 200 calls, to that endpoint only."""
        await ask_all(front, college, range(20), "/api/quiz")
        platform.faults.set("course_files", kind="status", status=500)
        calls = platform.counters.total
        answers = []
        clock.stop()  # a busy machine would take longer than the breaker is open
        for _ in range(20):
            answers += await ask_all(front, college, range(20))
            clock.advance(0.15)
        # An equal request shares a failure for a second; these are others'. The first
        # may be a probe.
        for number in (30, 31):
            answers += await ask_all(front, college, [number])
        assert platform.counters.total - calls < 200
        assert {answer.code for answer in answers} <= {502, 503}
        assert answers[-1].code == 503
        assert int(answers[-1].headers["Retry-After"]) >= 1
        health = json.loads((await front.ask("/health")).body)
        assert health["upstream"]["state"] == "open"
        states = health["upstream"]["endpoints"]
        assert [name for name in states if states[name] != "closed"] == ["course_files"]
        assert states["course_files"] == "open"
        other = await front.ask("/api/quiz", college.token(college.student(30)))
        assert other.code == 200

    @pytest.mark.gen_test
    async def test_a_kept_answer_is_served_while_the_breaker_is_open(
        self, front, college, platform, token, clock
    ):
        """An open breaker costs those nothing whose answers are kept."""
        await front.ask("/api/attendance", token)
        clock.advance(400)
        clock.stop()  # a busy machine would take longer than the breaker is open
        await ask_all(front, college, range(50, 53), "/api/quiz")
        platform.faults.set("course_files", kind="html")
        await ask_all(front, college, range(50, 53))
        calls = platform.counters.total
        answer = await front.ask("/api/attendance", token)
        assert (answer.code, answer.headers["X-Cache"]) == (200, "STALE")
        await asyncio.sleep(0.05)
        assert platform.counters.total == calls

    @pytest.mark.gen_test
    async def test_students_refusals_open_nothing(self, front, college, platform):
        """401s are the students', not the platform's."""
        tokens = [college.token(college.student(n)) for n in range(60)]
        for token in tokens:
            platform.revoke(token)
        await asyncio.gather(*(front.ask("/api/quiz", token) for token in tokens))
        health = json.loads((await front.ask("/health")).body)
        assert health["upstream"]["state"] == "closed"

    @pytest.mark.gen_test
    async def test_a_wished_pause_is_kept_by_whom_it_was_wished(
        self, front, college, platform, clock
    ):
        """After a 429 only that student's calls to that endpoint pause."""
        clock.stop()  # the pause becomes no shorter
        first, second = (college.token(college.student(n)) for n in range(2))
        await front.ask("/api/attendance", first)
        platform.faults.set("quizzes", kind="rate_limited", retry_after="50", count=1)
        for _ in range(2):
            answer = await front.ask("/api/quiz", first)
            assert (answer.code, answer.headers["Retry-After"]) == (503, "50")
        assert platform.counters.calls["quizzes"] == 1
        assert (await front.ask("/api/quiz", second)).code == 200
        assert (await front.ask("/api/all-attendance", first)).code == 200

    @pytest.mark.gen_test
    async def test_a_wished_pause_is_waited_for_if_it_ends_in_time(
        self, front, college, platform
    ):
        """The call may go on behind its request for longer, which is told before."""
        first, second = (college.token(college.student(n)) for n in range(2))
        platform.faults.set("quizzes", kind="rate_limited", retry_after="1", count=1)
        assert (await front.ask("/api/quiz", first)).code == 200
        platform.faults.set("quizzes", kind="rate_limited", retry_after="15", count=1)
        assert (await front.ask("/api/quiz", second)).code == 503


@pytest.mark.settings(
    REQUEST_TIMEOUT_SECONDS="4",
    MAX_CONCURRENT_REQUESTS="10",
    RATE_LIMIT_PER_ADDRESS_PER_MINUTE="100000",
)
class TestHanging:
    """Calls never end, and there are few slots."""

    @pytest.mark.gen_test
    async def test_every_answer_comes_by_its_deadline(self, front, college, platform):
        """200 at once, 10 slots: all are answered, never more than 10 are called."""
        platform.faults.set(kind="hang")
        answers = await ask_all(front, college, range(200))
        assert {answer.code for answer in answers} <= {503, 504}
        assert platform.counters.peak <= 10


@pytest.mark.settings(
    REQUEST_TIMEOUT_SECONDS="300",
    GATHER_TIMEOUT_SECONDS="300",
    MAX_CONCURRENT_REQUESTS="10",
    RATE_LIMIT_PER_ADDRESS_PER_MINUTE="100000",
)
class TestShedding:
    """Calls are known to take a minute and a half, and there are few slots."""

    @pytest.mark.gen_test
    async def test_a_slow_platform_sheds_early(
        self, front, college, platform, worker, access_lines
    ):
        """What cannot be served in time is refused at once, with a Retry-After, before
        anything has been answered; all else is served.
        """
        slots, slow = worker.slots, CallerKey.student(1)
        for _ in range(30):
            assert slots.try_acquire(slow)
            slots.release(slow, 90.0)

        def ended():
            return [line["status"] for line in access_lines.told() if "route" in line]

        platform.hold()
        asking = asyncio.ensure_future(ask_all(front, college, range(200)))
        await eventually(lambda: slots.in_use + slots.waiting + len(ended()) == 200)
        refused = ended()
        assert set(refused) == {503}
        assert len(refused) >= 100
        platform.release()
        answers = await asking
        shed = [answer for answer in answers if answer.code != 200]
        assert len(shed) == len(refused)
        assert {json.loads(answer.body)["code"] for answer in shed} == {"overloaded"}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in shed)
        assert platform.counters.peak <= 10


@pytest.mark.settings(
    MAX_CONCURRENT_REQUESTS="2", RATE_LIMIT_PER_ADDRESS_PER_MINUTE="100000"
)
class TestSharing:
    """A large page beside small ones."""

    @pytest.mark.gen_test
    async def test_a_page_does_not_starve_a_small_request(
        self, front, college, platform, worker
    ):
        """A single call that comes later is made before the page's last ones."""
        platform.hold("cards")
        page = asyncio.ensure_future(
            front.ask("/api/all-attendance", college.token(college.student(0)))
        )
        await platform.until(lambda seen: seen.now["cards"] == 2)
        waiting = worker.slots.waiting
        small = asyncio.ensure_future(
            front.ask("/api/quiz", college.token(college.student(1)))
        )
        await eventually(lambda: worker.slots.waiting == waiting + 1)
        cards_before = []

        def small_is_called(seen) -> bool:
            if seen.now["quizzes"]:
                cards_before.append(seen.calls["cards"])
            return bool(cards_before)

        called = asyncio.ensure_future(platform.until(small_is_called))
        await asyncio.sleep(0)
        platform.release()
        assert {(await small).code, (await page).code} == {200}
        await called
        assert cards_before[0] <= 4

    @pytest.mark.gen_test
    async def test_a_login_whose_client_has_gone_leaves_the_line(
        self, front, college, platform, worker
    ):
        """Nobody waits for it, so the platform is not asked."""
        platform.hold("course_files")
        pages = [
            asyncio.ensure_future(
                front.ask("/api/attendance", college.token(college.student(n)))
            )
            for n in range(2)
        ]
        await platform.until(lambda seen: seen.now["course_files"] == 2)
        port = int(front.base_url.rpartition(":")[2])
        _, gone = await asyncio.open_connection("127.0.0.1", port)
        form = b"username=u&password=p"
        gone.write(
            b"POST /api/login HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(form), form)
        )
        await eventually(lambda: worker.slots.waiting == 1)
        gone.close()
        await eventually(lambda: worker.slots.waiting == 0)
        platform.release()
        await asyncio.gather(*pages)
        assert platform.counters.calls["authenticate"] == 0


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("status", "told", "code"),
    [(404, 502, "upstream_error"), (401, 401, "unauthorized")],
)
async def test_a_failure_tells_its_code_and_its_time(
    front, token, platform: SimulatedPlatform, access_lines, status, told, code
):
    """The access line has what the student was told, and the platform's time."""
    platform.faults.set(kind="status", status=status)
    answer = await front.ask("/api/quiz", token)
    assert answer.code == told
    assert answer.headers["Server-Timing"].startswith("upstream;dur=")
    lines = access_lines.told()
    (line,) = (line for line in lines if line["logger"] == "aims_server.access")
    assert line["code"] == code
    assert 0 < line["upstreamSeconds"] <= line["seconds"]


@pytest.mark.settings(RATE_LIMIT_PER_MINUTE="1")
class TestLimited:
    """A student asks too often."""

    @pytest.mark.gen_test
    async def test_a_limit_reached_is_told_once(self, front, token, access_lines):
        """One line names the setting, however many requests it refuses."""
        answers = [await front.ask("/api/quiz", token) for _ in range(9)]
        assert [answer.code for answer in answers] == [200] + [429] * 8
        text = access_lines.getvalue()
        assert text.count("was refused by RATE_LIMIT_PER_MINUTE=") == 1
