"""What one student, account or address does to the platform stays with that one
(docs/contract.rst 7): in each scenario another student notices nothing.
"""

import asyncio
import json

import pytest

pytestmark = [
    pytest.mark.gen_test,
    pytest.mark.settings(
        REQUEST_TIMEOUT_SECONDS="60",
        RATE_LIMIT_PER_ADDRESS_PER_MINUTE="100000",
        LOGIN_LIMIT_PER_MINUTE="100000",
    ),
]

BROKEN = '{"responseStatus":"Failure","errors":["Invalid URL"]}'


@pytest.fixture(name="bystander")
def _bystander(front, college):
    """Another student, who logs in and looks at every page."""
    student = college.student(77)

    async def look():
        token = await front.log_in(student)
        for path in ("attendance", "all-attendance", "quiz", "timetable"):
            answer = await front.ask(f"/api/{path}", token)
            assert answer.code == 200, (path, answer.body)
            assert json.loads(answer.body).get("incomplete", []) == []

    return look


async def states(front) -> dict[str, str]:
    """The breakers, by endpoint."""
    health = json.loads((await front.ask("/health")).body)
    return dict(health["upstream"]["endpoints"])


async def test_one_students_undecodable_records(front, college, platform, bystander):
    """They cost nobody else a page, though all fifteen subjects fail repeatedly."""
    student = college.student(0)
    token = college.token(student)
    platform.faults.set(
        "cards", kind="body", body=BROKEN, match=f"fk_student={student.id}"
    )
    for _ in range(3):
        answer = await front.ask("/api/all-attendance", token)
        assert len(json.loads(answer.body)["incomplete"]) == 15
        await front.ask("/api/quiz", token)
    assert set((await states(front)).values()) == {"closed"}
    await bystander()


async def test_one_students_records_that_break_the_platform(
    front, college, platform, bystander
):
    """A 500 for each, tried again and again: the others keep their own tries."""
    student = college.student(0)
    await front.ask("/api/quiz", college.token(student))
    platform.faults.set(
        "cards", kind="status", status=500, match=f"fk_student={student.id}"
    )
    answer = await front.ask("/api/all-attendance", college.token(student))
    assert len(json.loads(answer.body)["incomplete"]) == 15
    assert set((await states(front)).values()) == {"closed"}
    platform.faults.clear()
    for endpoint in ("course_files", "quizzes"):  # mended, if there are tries left
        platform.faults.set(endpoint, kind="reset", count=1)
    await bystander()


async def test_twenty_logins_that_break_the_platform(
    front, college, platform, bystander
):
    """They cost nobody else at the same address a login."""
    platform.faults.set("authenticate", kind="status", status=500, count=20)
    for number in range(20):
        body = {"username": f"student {number} \N{PILE OF POO}", "password": "x"}
        answer = await front.ask("/api/login", method="POST", body=body)
        assert answer.code == 502
    assert set((await states(front)).values()) == {"closed"}
    await bystander()


async def test_a_login_that_is_to_wait(front, college, platform, bystander):
    """The platform's limit of one account is no other's."""
    platform.faults.set("authenticate", kind="rate_limited", retry_after="60", count=1)
    student = college.student(0)
    body = {"username": student.username, "password": student.password}
    assert (await front.ask("/api/login", method="POST", body=body)).code == 429
    await bystander()


@pytest.mark.parametrize("kind", ["rate_limited", "status"])
async def test_a_student_who_is_to_pause(front, college, platform, bystander, kind):
    """After a 429 or 503 to one student nobody else pauses."""
    token = college.token(college.student(0))
    await front.ask("/api/quiz", token)
    platform.faults.set("course_files", kind=kind, retry_after="60", count=1)
    answer = await front.ask("/api/attendance", token)
    assert (answer.code, answer.headers["Retry-After"]) == (503, "60")
    await bystander()


async def test_three_students_failures_close_that_endpoint_only(
    front, college, platform, clock
):
    """Other endpoints answer on."""
    clock.stop()  # a busy machine would take longer than the breaker is open
    tokens = [college.token(college.student(number)) for number in range(5)]
    for token in tokens:
        assert (await front.ask("/api/attendance", token)).code == 200
    platform.faults.set("quizzes", kind="html")
    for token in tokens[:3]:
        assert (await front.ask("/api/quiz", token)).code == 502
    calls = platform.counters.calls["quizzes"]
    refused = await front.ask("/api/quiz", tokens[3])
    assert refused.code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert platform.counters.calls["quizzes"] == calls
    assert {
        name for name, state in (await states(front)).items() if state == "open"
    } == {"quizzes"}
    assert (await front.ask("/api/all-attendance", tokens[4])).code == 200


async def test_one_student_with_many_tokens(front, college, platform):
    """Has as many calls under way as with one, and no more: 32."""
    student = college.student(0)
    tokens = [college.token(student, serial=serial) for serial in range(20)]
    for token in tokens:
        await front.ask("/api/attendance", token)
    platform.hold("cards")
    asked = [
        asyncio.ensure_future(front.ask("/api/all-attendance", token))
        for token in tokens
    ]
    await platform.until(lambda seen: seen.now["cards"] == 32)
    other = await front.ask("/api/quiz", college.token(college.student(77)))
    assert other.code == 200
    assert platform.counters.now["cards"] == 32
    platform.release()
    answers = await asyncio.gather(*asked)
    assert {answer.code for answer in answers} <= {200, 429, 503}


async def test_strangers_beside_cold_pages(front, college, platform):
    """Made-up tokens and wrong logins all the time; every page is whole."""
    platform.faults.set(delay=0.05)
    over = asyncio.Event()

    async def attack(number):
        while not over.is_set():
            await front.ask("/api/all-attendance", f"made.up{number}.{id(object())}")
            body = {"username": f"nobody-{number}", "password": "x"}
            await front.ask("/api/login", method="POST", body=body)

    students = [college.student(number) for number in range(24)]
    tokens = [await front.log_in(student) for student in students]
    attackers = [asyncio.ensure_future(attack(number)) for number in range(10)]
    await asyncio.sleep(0.2)
    pages = await asyncio.gather(
        *(front.ask("/api/all-attendance", token) for token in tokens)
    )
    over.set()
    await asyncio.gather(*attackers)
    for page in pages:
        assert page.code == 200
        assert json.loads(page.body)["incomplete"] == []
    assert set((await states(front)).values()) == {"closed"}
