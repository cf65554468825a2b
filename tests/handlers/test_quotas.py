"""Rate limits through HTTP: who is counted, what the headers say, who is spared."""

import asyncio
import json
import re

import pytest

from aims_server.demo.college import College
from aims_server.metrics import labels

from .kept import pages_shared
from .ways import WAYS

pytestmark = pytest.mark.settings(
    RATE_LIMIT_PER_MINUTE="5",
    LOGIN_LIMIT_PER_MINUTE="3",
    RATE_LIMIT_PER_ADDRESS_PER_MINUTE="60",
    TRUSTED_PROXIES="192.0.2.0/24",
)


def refused(answers) -> list:
    """Those that were told to wait."""
    return [answer for answer in answers if answer.code == 429]


@pytest.mark.gen_test
async def test_a_students_quota(front, token):
    """The bucket's worth passes; the next is told when to come back."""
    answers = [await front.ask("/api/quiz", token) for _ in range(6)]
    assert [answer.code for answer in answers] == [200] * 5 + [429]
    last = answers[-1]
    assert json.loads(last.body)["code"] == "rate_limited"
    wait = int(last.headers["Retry-After"])
    assert wait == 12
    assert last.headers["RateLimit-Policy"] == '"student";q=5;w=60'
    assert last.headers["RateLimit"] == f'"student";r=0;t={wait}'


@pytest.mark.gen_test
async def test_two_logins_of_a_student_share_one_quota(
    front, college: College, student
):
    """Once the platform has named the student of both tokens, they count as one."""
    tokens = [college.token(student, serial=serial) for serial in range(2)]
    for token in tokens:
        assert (await front.ask("/api/attendance", token)).code == 200
    answers = [await front.ask("/api/attendance", token) for token in tokens * 4]
    assert len(refused(answers)) == 5


@pytest.mark.gen_test
async def test_many_tokens_of_one_student_at_once_are_one(
    front, college: College, student, platform
):
    """20 tokens that the platform has not yet spoken of have one quota together, and
    another student of that address has the whole of another's.
    """
    platform.hold("course_files")
    asked = [
        asyncio.ensure_future(front.ask("/api/attendance", token))
        for token in (college.token(student, serial=n) for n in range(20))
    ]
    # Each is judged before the platform names the student of the first.
    judged = asyncio.as_completed(asked)
    assert len(refused([await next(judged) for _ in range(15)])) == 15
    platform.release()
    answers = await asyncio.gather(*asked)
    assert len(refused(answers)) == 15
    other = await front.ask("/api/attendance", college.token(college.student(1)))
    assert other.headers["RateLimit"].startswith('"student";r=4')


@pytest.mark.gen_test
async def test_a_refused_token_costs_its_students_other_tokens_nothing(
    front, college: College, student, platform
):
    """70 requests with one that was good once: the other's page is still kept, and the
    student's quota whole.
    """
    old, good = (college.token(student, serial=serial) for serial in range(2))
    for token in (old, good):
        assert (await front.ask("/api/attendance", token)).code == 200
    platform.revoke(old)
    answers = [await front.ask("/api/quiz", old) for _ in range(30)]
    assert {answer.code for answer in answers} == {401, 429}
    kept = await front.ask("/api/attendance", good)
    assert (kept.code, kept.headers["X-Cache"]) == (200, "HIT")


@pytest.mark.gen_test
async def test_a_students_flood_uses_up_nothing_of_the_address(front, college, token):
    """Those who share it are served after any number of the student's refusals."""
    assert (await front.ask("/api/attendance", token)).code == 200
    answers = [await front.ask("/api/attendance", token) for _ in range(70)]
    assert len(refused(answers)) == 66
    other = await front.ask("/api/attendance", college.token(college.student(1)))
    assert other.code == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("query", ["", "?x"], ids=["simple", "by Tornado"])
async def test_what_students_are_served_uses_up_the_address(front, college, query):
    """All of them together get what their address may have."""
    tokens = [college.token(college.student(number)) for number in range(13)] * 5
    path = f"/api/attendance{query}"
    answers = [await front.ask(path, token) for token in tokens]
    assert len(refused(answers)) == 5


@pytest.mark.gen_test
async def test_the_refused_leave_no_trace(front, worker):
    """Neither the platform's refusal of a token nor a limit's is remembered."""
    for number in range(20):
        await front.ask("/api/quiz", f"made-up-{number}")
    assert len(worker.sessions) == len(worker.kept.memory) == pages_shared(worker) == 0


@pytest.mark.gen_test
async def test_a_made_up_token_uses_up_nothing_of_a_students(
    front, college, student, token
):
    """A forged claim is counted against its forgers, and drops nothing that is kept."""
    assert (await front.ask("/api/quiz", token)).code == 200
    head, claims, _ = token.split(".")
    forged = f"{head}.{claims}.AAAA"
    answers = [await front.ask("/api/quiz", forged) for _ in range(7)]
    assert {answer.code for answer in answers} == {401, 429}
    kept = await front.ask("/api/quiz", token)
    assert (kept.code, kept.headers["X-Cache"]) == (200, "HIT")


@pytest.mark.gen_test
async def test_logins_are_counted_by_user_name(front, student):
    """Case, blanks and password make no difference to the count."""
    names = [student.username, student.username.lower(), f" {student.username} "]
    answers = [
        await front.ask(
            "/api/login", method="POST", body={"username": name, "password": "wrong"}
        )
        for name in [*names, student.username]
    ]
    assert [answer.code for answer in answers][-1] == 429
    assert answers[-1].headers["RateLimit-Policy"] == '"login";q=3;w=60'


@pytest.mark.gen_test
async def test_made_up_forwarding_headers_change_nothing(front):
    """Nobody but a trusted proxy may name another address."""
    answers = await asyncio.gather(
        *(
            front.ask(
                "/api/quiz",
                headers={
                    "X-Forwarded-For": f"198.51.100.{number}",
                    "X-Real-Ip": f"198.51.100.{number}",
                    "Forwarded": f"for=198.51.100.{number}",
                },
            )
            for number in range(70)
        )
    )
    assert len(refused(answers)) == 10


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/api/quiz", "/nowhere"])
async def test_a_method_that_nobody_knows_is_counted(front, path):
    """It counts against its address, as every other request does."""
    answers = [await front.ask(path, method="BREW") for _ in range(61)]
    left = answers[59].headers["RateLimit"]
    assert left.startswith('"address";r=0;')
    assert answers[60].code == 429


@pytest.mark.gen_test
async def test_health_and_metrics_are_never_limited(front, token):
    """Probes go on when an address has used up everything, and preflights: a browser
    whose preflight is refused shows its page no 429.
    """
    answers = [await front.ask("/api/nothing") for _ in range(62)]
    assert refused(answers)
    for path in ("/health", "/health/live", "/metrics"):
        assert (await front.ask(path)).code == 200
    for path in ("/api/quiz", "/api/nothing"):
        assert (await front.ask(path, method="OPTIONS")).code == 204


@pytest.mark.gen_test
async def test_each_refusal_is_counted_under_its_limit(front, token, worker):
    """Operators see which of the limits refuses, and how often."""
    login = {"username": "nobody", "password": "x"}
    for _ in range(7):
        await front.ask("/api/quiz", token)
    for _ in range(4):
        await front.ask("/api/login", method="POST", body=login)
    while (await front.ask("/api/nowhere")).code != 429:
        pass
    exposition = worker.metrics.exposition().decode()
    counted = dict(
        re.findall(r'aims_limited_requests_total{kind="([\w-]+)"} (\d+)', exposition)
    )
    refusals = {"student": "2", "login": "1", "address": "1"}
    assert counted == {**dict.fromkeys(labels.LIMITS, "0"), **refusals}


@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_what_is_told_of_a_refusal_names_its_request(
    front, token, access_lines, way
):
    """Whoever follows one request through the log finds which limit refused it."""
    for number in range(6):
        headers = {"X-Request-Id": f"mine.{number}", **way}
        await front.ask("/api/quiz", token, headers=headers)
    told = [line for line in access_lines.told() if "limit" in line]
    assert [line.get("requestId") for line in told] == ["mine.5"]


@pytest.mark.gen_test
async def test_a_limit_of_the_platforms_is_counted_as_its_own(
    front, student, platform, worker
):
    """It told a login to wait, which is none of our limits."""
    platform.faults.set("authenticate", kind="rate_limited", retry_after="60")
    body = {"username": student.username, "password": student.password}
    assert (await front.ask("/api/login", method="POST", body=body)).code == 429
    counted = 'aims_limited_requests_total{kind="platform"} 1.0'
    assert counted in worker.metrics.exposition().decode()


@pytest.mark.gen_test
async def test_limits_share_no_bucket(front, student, token):
    """A user name that reads like a student's number or like an address uses up
    nothing of theirs.
    """
    assert (await front.ask("/api/quiz", token)).code == 200
    for name in (str(student.id), "127.0.0.1"):
        for _ in range(3):
            body = {"username": name, "password": "wrong"}
            await front.ask("/api/login", method="POST", body=body)
    answer = await front.ask("/api/quiz", token)
    assert answer.code == 200
    assert answer.headers["RateLimit"].startswith('"student";r=3')
    address = await front.ask("/api/nothing")
    assert address.headers["RateLimit"].startswith('"address";r=51')
