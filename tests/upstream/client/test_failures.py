"""Calls that fail: which error, how many tries, which pause; what is quoted of them."""

import asyncio
import json

import pytest

from aims_server.errors import (
    TokenRefused,
    UpstreamBusy,
    UpstreamError,
    UpstreamFault,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    WrongAnswer,
)

from ...waiting import PATIENCE_SECONDS
from .conftest import CANARY, ENDPOINTS, Student, client_of

pytestmark = pytest.mark.gen_test

TRACE = json.dumps(["vendor/framework/Pipeline.php"] * 1000)  # when it is debugged


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, '{"status":0,"msg":"Please login again"}'),
        (200, '{"status":0,"response":"Session expired"}'),
        (400, '{"error":{"message":"Signature has expired"}}'),
        (403, '{"message":"Logged in from another device"}'),
        (419, '{"message":"Session timed out"}'),
        (440, '{"msg":"Login required"}'),
        (401, "{}"),
        (401, f'{{"trace":{TRACE}}}'),
        (400, f'{{"message":"Token has expired","trace":{TRACE}}}'),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_refusal_in_words_is_told_apart(
    student, platform, status, body, endpoint
):
    """It is found in whatever status and field it comes."""
    platform.faults.set(kind="body", status=status, body=body)
    assert type(await student.fault(getattr(student, endpoint))) is TokenRefused
    assert platform.counters.total == 1


async def test_a_redirect_to_a_login_page_is_a_refusal(student, platform):
    """A redirect to a login page is a refusal, and is not followed."""
    platform.faults.set(kind="redirect", location="https://college.invalid/login")
    assert type(await student.fault(student.quizzes)) is TokenRefused


@pytest.mark.parametrize("status", [200, 400, 401, 403, 419])
async def test_a_page_of_html_refuses_no_token(student, platform, status):
    """A firewall in between knows nothing of tokens."""
    platform.faults.set(kind="html", status=status)
    fault = await student.fault(student.course_files)
    assert isinstance(fault, UpstreamError)
    assert fault.status == 502


async def test_a_probe_needs_no_token(client, platform):
    """What finds out whether the platform is back asks without a token: a refusal of
    that is an answer, and only a fault of the platform is one. It is on a new
    connection, since kept ones may hang.
    """
    await client._ask_without_token("cards")
    platform.faults.set("cards", kind="status", status=500)
    with pytest.raises(UpstreamFault):
        await client._ask_without_token("cards")
    assert platform.counters.calls == {"cards": 2}
    assert platform.counters.connections == 2


async def fault_before_a_pause(student, platform):
    """The error of one call, and how many tries led to it. It has less time than any
    pause takes, and is made again where that was not enough.
    """
    while True:
        before = platform.counters.calls["quizzes"]
        fault = await student.fault(student.quizzes, seconds=0.9)
        if not isinstance(fault, UpstreamTimeout):
            return fault, platform.counters.calls["quizzes"] - before


@pytest.mark.parametrize(
    ("status", "kind", "calls"),
    [
        (400, UpstreamRejected, 1),
        (404, UpstreamRejected, 1),
        (410, UpstreamRejected, 1),
        (418, UpstreamRejected, 1),
        (429, UpstreamUnavailable, 1),
        (500, UpstreamFault, 3),
        (502, UpstreamFault, 3),
        (503, UpstreamBusy, 3),
        (504, UpstreamFault, 3),
        (599, UpstreamFault, 3),
    ],
)
async def test_a_status_is_an_error(student, platform, status, kind, calls):
    """What is the platform's own failing is asked again, what is not is not; the log
    has the status.
    """
    platform.faults.set("quizzes", kind="status", status=status)
    fault, made = await fault_before_a_pause(student, platform)
    assert (type(fault), made) == (kind, calls)
    assert fault.cause.kind == f"status_{status}"


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_is_no_answer(student, platform, status):
    """Any other redirect is an error, and is not followed."""
    platform.faults.set("quizzes", kind="redirect", status=status)
    assert type(await student.fault(student.quizzes)) is UpstreamError
    assert platform.counters.total == 1


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    "kind",
    [
        "html",
        "broken_json",
        "truncated_json",
        "empty_body",
        "nan",
        "deep_json",
        "bad_gzip",
        "gzip_bomb",
        "endless",
        "bad_header",
    ],
)
async def test_an_unusable_body_is_an_error(student, platform, endpoint, kind):
    """An unusable body is an error and not retried."""
    platform.faults.set(kind=kind, megabytes=20)
    assert type(await student.fault(getattr(student, endpoint))) is UpstreamError
    assert platform.counters.total == 1


@pytest.mark.parametrize("endpoint", ["course_files", "cards"])
@pytest.mark.parametrize("kind", ["wrong_types", "no_token"])
async def test_json_that_is_no_list_is_an_error(student, platform, endpoint, kind):
    """An answer of another kind says nothing of a student's classes."""
    platform.faults.set(kind=kind)
    fault = await student.fault(getattr(student, endpoint))
    assert type(fault) in (UpstreamError, WrongAnswer)
    assert platform.counters.total == 1


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_bytes_that_are_not_utf8_cost_no_answer(student, platform, endpoint):
    """Bytes that are not UTF-8, and a byte order mark, leave the answer usable."""
    platform.faults.set(kind="bad_utf8")
    assert await getattr(student, endpoint)()
    platform.faults.clear()
    platform.switch(prefix="\ufeff")
    assert await getattr(student, endpoint)()


async def test_a_warning_before_the_json_makes_it_none(student, platform):
    """What is no JSON stays an error."""
    platform.switch(prefix="<br />\n<b>Warning</b>: x\n")
    assert type(await student.fault(student.course_files)) is UpstreamError


@pytest.mark.parametrize("kind", ["reset", "close_before_answer", "short_body"])
async def test_a_dropped_connection_is_tried_again(student, platform, kind):
    """The second try finds it well."""
    platform.faults.set("quizzes", kind=kind, count=1)
    assert await student.quizzes()


@pytest.mark.parametrize("kind", ["hang", "hang_midway", "trickle"])
async def test_a_hung_platform_costs_the_deadline_and_no_more(student, platform, kind):
    """All tries together end in its time: none of these answers ever comes."""
    platform.faults.set("quizzes", kind=kind)
    fault = await student.fault(student.quizzes, seconds=0.3)
    assert type(fault) is UpstreamTimeout


async def test_a_dead_platform_is_soon_left_alone(client, college, platform):
    """Once three students got nothing, its breaker says so, and no call is made."""
    platform.faults.set("quizzes", kind="status", status=500)
    assert client.state == "closed"
    for number in range(3):
        student = Student(client, college, number)
        assert type(await student.fault(student.quizzes)) is UpstreamFault
    assert client.state == client.endpoint_states["quizzes"] == "open"
    calls = platform.counters.total
    student = Student(client, college, 3)
    assert type(await student.fault(student.quizzes)) is UpstreamUnavailable
    assert platform.counters.total == calls <= 3 + 4 + 1
    assert await student.course_files()


async def test_nobody_there_opens_every_endpoint(college):
    """Tries of one student are enough: it is no student's fault."""
    client = await client_of("http://127.0.0.1:1")
    student = Student(client, college)
    await student.fault(student.quizzes)
    assert set(client.endpoint_states.values()) == {"open"}
    await client.close()


# Its own wish for a pause.


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("5", 5.0),
        ("0", 1.0),
        ("86400", 120.0),
        ("soon", 1.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1.0),
    ],
)
async def test_a_429_is_obeyed(student, platform, said, seconds):
    """The pause is as long as it says, within limits; a second if it says nothing."""
    platform.faults.set("quizzes", kind="rate_limited", retry_after=said)
    for expected in (1, 0):
        fault, made = await fault_before_a_pause(student, platform)
        assert (fault.retry_after, made) == (seconds, expected)
    assert await student.cards() is not None


@pytest.mark.parametrize(("said", "seconds"), [("30", 30.0), (None, None), ("x", None)])
async def test_a_503_may_name_a_time(student, platform, said, seconds):
    """Where it names none, our own pauses are as good."""
    platform.faults.set("quizzes", kind="status", status=503, retry_after=said)
    fault, _ = await fault_before_a_pause(student, platform)
    assert type(fault) is UpstreamBusy
    assert fault.retry_after == seconds


# Secrets, and the end.


async def test_an_error_quotes_nothing_of_the_answer(student, platform):
    """Neither the error nor its causes do: an answer may hold a PIN."""
    for body in (f"<p>{CANARY}</p>", f'["{CANARY}"]', f'{{"token":{{"{CANARY}":1}}'):
        platform.switch(wrong_password_status=200, wrong_password_body=body)
        fault: BaseException | None = await student.fault(
            student.log_in, password="wrong"
        )
        while fault is not None:
            assert CANARY not in str(fault)
            fault = fault.__cause__ or fault.__context__


async def test_closing_gives_up_what_is_under_way(platform, college):
    """No call outlives the client, and no asker waits for ever."""
    client = await client_of(platform.base_url)
    platform.hold()
    asker = asyncio.create_task(Student(client, college).quizzes())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await platform.until(lambda counters: counters.in_flight == 1)
        await client.close()
        await asyncio.wait([asker])
        await platform.until(lambda counters: counters.in_flight == 0)
    assert asker.cancelled()
