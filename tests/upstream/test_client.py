"""The platform as typed calls, over real sockets: what is asked, what its answers
become, and which error stands for each thing that goes wrong.
"""

import asyncio
import json
from collections import Counter

import pytest

from aims_server.deadline import Deadline
from aims_server.demo.college import College
from aims_server.demo.platform import SimulatedPlatform
from aims_server.errors import (
    ApiError,
    RateLimited,
    TokenRefused,
    UpstreamBusy,
    UpstreamDropped,
    UpstreamError,
    UpstreamFault,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from aims_server.metrics import labels
from aims_server.upstream.admission import Admission
from aims_server.upstream.answers import Oddities
from aims_server.upstream.bulkhead import Bulkhead
from aims_server.upstream.callers import CallerKey
from aims_server.upstream.client import ENDPOINTS as ALL_ENDPOINTS
from aims_server.upstream.client import UpstreamClient
from aims_server.upstream.endpoint_breakers import EndpointBreakers
from aims_server.upstream.resilience import ResiliencePolicy
from aims_server.upstream.retry import RetryBudget
from aims_server.upstream.transport import Transport
from aims_server.web.tokens import is_token
from tests.virtual_time import Clock

pytestmark = pytest.mark.gen_test

ORIGIN = "https://abes.web.simplifii.com"
CANARY = "canary-0123456789"


class Unobserved:
    """An observer that nobody asks."""

    def call_finished(self, endpoint, outcome, seconds):
        """One call ended."""

    def call_repeated(self, endpoint):
        """One more is made."""

    def call_hedged(self, endpoint, end):
        """One more is made beside a late one."""

    def upstream_oddity(self, endpoint, kind):
        """Something could not be read."""


class Student:
    """A student of the platform, and what they can ask."""

    def __init__(self, client, college, number=0):
        self.client = client
        self.college = college
        self.student = college.student(number)
        self.caller = CallerKey.student(self.student.id)
        self.token = college.token(self.student)
        self.courses = college.courses(self.student)

    async def log_in(self, username=None, password=None, seconds=5.0):
        """A login, with the right credentials where none are given."""
        return await self.client.log_in(
            username or self.student.username,
            password or self.student.password,
            CallerKey.address("192.0.2.1"),
            Deadline(seconds),
        )

    async def course_files(self, seconds=5.0):
        """The course files."""
        return await self.client.course_files(
            self.token, self.caller, Deadline(seconds)
        )

    async def cards(self, cf_id=None, seconds=5.0):
        """The records of a course, the first where none is named."""
        cf_id = cf_id or self.courses[0].cf_id
        return await self.client.cards(
            self.token, self.caller, self.student.id, cf_id, Deadline(seconds)
        )

    async def quizzes(self, seconds=5.0):
        """The quizzes."""
        return await self.client.quizzes(self.token, self.caller, Deadline(seconds))

    async def fault(self, ask, **more) -> ApiError:
        """The error that a call ends with."""
        with pytest.raises(ApiError) as caught:
            await ask(**more)
        return caught.value


@pytest.fixture(scope="module", name="college")
def _college():
    return College(students=20)


@pytest.fixture(name="platform")
def _platform(io_loop, college):
    platform = SimulatedPlatform(college)
    io_loop.run_sync(platform.start)
    yield platform
    io_loop.run_sync(platform.stop)


async def client_of(base_url: str) -> UpstreamClient:
    """A client with all its real parts, which repeats at once what it repeats; no time
    passes for the pauses that the platform asks for.
    """
    guard = ResiliencePolicy(
        Admission(Bulkhead(20), EndpointBreakers(ALL_ENDPOINTS), clock=Clock()),
        Unobserved(),
        retries=RetryBudget(floor=4),
        hedges=RetryBudget(share=0.1, floor=10),
        random=lambda: 0.0,
    )
    oddities = Oddities(Unobserved())
    return UpstreamClient(Transport(20, "test"), guard, base_url, ORIGIN, oddities)


@pytest.fixture(name="client")
def _client(io_loop, platform):
    client = io_loop.run_sync(lambda: client_of(platform.base_url))
    yield client
    io_loop.run_sync(client.close)


@pytest.fixture(name="student")
def _student(client, college) -> Student:
    return Student(client, college)


ENDPOINTS = ["course_files", "cards", "quizzes"]


def test_metrics_know_every_endpoint():
    """Or its calls would count as another's."""
    assert labels.UPSTREAM_ENDPOINTS == ALL_ENDPOINTS


# What the platform answers.


async def test_course_files_are_the_colleges(student):
    """Every course in the platform's order, and its own total."""
    files = await student.course_files()
    *rows, total = student.college.course_files(student.student)
    assert [course.cf_id for course in files.courses] == [row["id"] for row in rows]
    assert files.total.present == total["attendance_summary"]["Present"]
    assert files.student_id == student.student.id


async def test_cards_are_the_colleges(student):
    """Record for record, by their states."""
    for course in student.courses[:3]:
        cards = (await student.cards(course.cf_id)).cards
        records = student.college.cards(student.student, course.cf_id)
        assert Counter(card.state for card in cards) == Counter(
            record["state"] for record in records
        )


async def test_quizzes_are_passed_on_unchanged(student, platform):
    """Byte for byte what the platform sent; it has only been looked at."""
    sent = platform.backend.quizzes(student.token).body
    quizzes = await student.quizzes()
    assert quizzes.body == sent
    assert quizzes.admission_number == student.student.username
    assert json.loads(sent)["response"]["data"]


EMPTY = {
    "an empty list": {"kind": "empty"},
    "null": {"kind": "body", "body": '{"msg":"","response":{"data":null}}'},
    "an empty array": {"kind": "body", "body": '{"msg":"No record","response":[]}'},
    "a 404": {"kind": "body", "status": 404, "body": '{"msg":"No records found"}'},
}


@pytest.mark.parametrize("knobs", EMPTY.values(), ids=EMPTY.keys())
async def test_nothing_there_is_an_answer(student, platform, knobs):
    """No course yet, a course that has not begun, a term without a quiz."""
    platform.faults.set(**knobs)
    assert (await student.course_files()).courses == ()
    assert (await student.cards()).cards == ()
    quizzes = json.loads((await student.quizzes()).body)
    assert not (quizzes["response"] and quizzes["response"]["data"])


async def test_a_404_that_speaks_of_no_list_is_a_fault(student, platform):
    """A wrong address is not an empty one."""
    platform.faults.set(kind="body", status=404, body='{"message":"Not Found"}')
    assert type(await student.fault(student.course_files)) is UpstreamRejected


async def test_a_404_in_json_is_an_empty_list_of_records(student, platform):
    """Whatever it says: the summary tells whether there should be records."""
    platform.faults.set(kind="body", status=404, body='{"message":"Not Found"}')
    assert (await student.cards()).cards == ()


async def test_all_pages_of_a_list_are_asked_for(student, platform):
    """As many records as the platform has, each once."""
    records = student.college.cards(student.student, student.courses[1].cf_id)
    platform.switch(page_size=4)
    cards = await student.cards(student.courses[1].cf_id)
    assert cards.complete
    assert [card.id for card in cards.cards] == [record["id"] for record in records]
    assert platform.counters.calls["cards"] == -(-len(records) // 4)
    assert platform.last["cards"].arguments["page"][0].decode() == str(
        platform.counters.calls["cards"]
    )


async def test_ten_pages_are_the_most(student, platform):
    """What is behind them stays unread, and the list says so."""
    platform.switch(page_size=1)
    cards = await student.cards(student.courses[1].cf_id)
    assert not cards.complete
    assert len(cards.cards) == platform.counters.calls["cards"] == 10


async def test_a_platform_that_knows_no_pages_is_asked_once_more(student, platform):
    """Page 2 begins like page 1: the list is not complete, and nothing counts twice."""
    platform.switch(page_size=4, obeys_page=False)
    cards = await student.cards(student.courses[1].cf_id)
    assert not cards.complete
    assert len(cards.cards) == 4
    assert platform.counters.calls["cards"] == 2


async def test_a_page_that_fails_leaves_the_others(student, platform):
    """What has come is kept, and is known not to be all."""
    platform.switch(page_size=4)
    platform.faults.set("cards", kind="html", match="page=3")
    cards = await student.cards(student.courses[1].cf_id)
    assert (len(cards.cards), cards.complete) == (8, False)


async def test_records_say_whose_they_are(student, platform):
    """Where the platform names their student."""
    assert (await student.cards()).student_id is None
    platform.switch(students_in_records=True)
    assert (await student.cards()).student_id == student.student.id


async def test_four_thousand_records_are_read():
    """In one answer, and well within a request's time."""
    college = College(students=1, records_per_subject=4000)
    platform = SimulatedPlatform(college)
    client = await client_of(await platform.start())
    assert len((await Student(client, college).cards()).cards) == 4000
    await client.close()
    await platform.stop()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_the_token_travels_in_a_header(student, platform, endpoint):
    """In a URL it would be in every log and proxy on the way (docs/contract.rst 6)."""
    await getattr(student, endpoint)()
    request = platform.last[endpoint]
    assert request.headers["Authorization"] == f"Bearer {student.token}"
    assert student.token not in request.uri
    assert platform.counters.query_tokens == 0


# Logins.


async def test_a_login_is_passed_on_with_its_token(student):
    """The platform's own answer, status and bytes; the token so that we can go on."""
    answer = await student.log_in()
    body = json.loads(answer.body)
    assert answer.status == 200
    assert answer.token == body["token"]
    assert body["response"]["id"] == student.student.id
    assert is_token(answer.token)


async def test_a_login_comes_from_the_portal(student, platform):
    """The platform takes logins of that origin only."""
    platform.switch(required_origin=ORIGIN)
    assert (await student.log_in()).status == 200
    headers = platform.last["authenticate"].headers
    assert headers["Origin"] == ORIGIN
    assert headers["Referer"].startswith(ORIGIN)
    assert "Authorization" not in headers


@pytest.mark.parametrize("password", ["p&a=s%s+w ord", "пароль", "a;b#c?d/é", "%00"])
async def test_a_password_arrives_as_it_was_typed(student, platform, password):
    """With all that a form must escape."""
    await student.log_in(password=password)
    arguments = platform.last["authenticate"].body_arguments
    assert arguments["password"] == [password.encode()]
    assert arguments["username"] == [student.student.username.encode()]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_refused_login_is_passed_on(student, platform, status):
    """Status and body: whatever the platform says to a wrong password."""
    platform.switch(wrong_password_status=status, wrong_password_msg="Try again")
    answer = await student.log_in(password="wrong")
    assert answer.status == status
    assert json.loads(answer.body)["msg"] == "Try again"
    assert answer.token is None


@pytest.mark.parametrize(
    ("text", "status"), [("Account locked", 401), ("Try later", None), ("<b>", None)]
)
async def test_a_500_about_the_account_is_a_refusal(student, platform, text, status):
    """The company's own app shows such a text; any other 500 is a fault."""
    platform.switch(wrong_password_status=500, wrong_password_msg=text)
    if status is None:
        fault = await student.fault(student.log_in, password="wrong")
        assert type(fault) is UpstreamFault
    else:
        answer = await student.log_in(password="wrong")
        assert (answer.status, answer.text, answer.token) == (status, text, None)


async def test_a_login_tells_whose_it_is(student):
    """By number and by admission number."""
    answer = await student.log_in()
    assert answer.student_id == student.student.id
    assert answer.admission_number == student.student.username


async def test_a_login_without_a_token_is_a_refusal(student, platform):
    """200 means a token (docs/contract.rst 1); the body stays what it was."""
    platform.faults.set("authenticate", kind="no_token")
    answer = await student.log_in()
    assert (answer.status, answer.token) == (401, None)
    assert json.loads(answer.body)["msg"] == "Please try again"


async def test_a_token_that_we_cannot_serve_is_passed_on_only(student, platform):
    """The student may use it elsewhere; no page is fetched with it here."""
    body = '{"status":1,"token":"not one of ours"}'
    platform.switch(wrong_password_status=200, wrong_password_body=body)
    answer = await student.log_in(password="wrong")
    assert (answer.status, answer.token) == (200, None)
    assert answer.body.decode() == body


@pytest.mark.parametrize("status", [300, 302, 399])
async def test_a_login_that_leads_elsewhere_is_no_answer(student, platform, status):
    """Whatever it says beside: a client of ours would follow it with a password."""
    platform.switch(wrong_password_status=status)
    fault = await student.fault(student.log_in, password="wrong")
    assert type(fault) is UpstreamError


@pytest.mark.parametrize(
    ("knobs", "kind"),
    [
        ({"kind": "status", "status": 500}, UpstreamFault),
        ({"kind": "status", "status": 503}, UpstreamBusy),
        ({"kind": "rate_limited"}, RateLimited),
        ({"kind": "redirect"}, UpstreamError),
        ({"kind": "html"}, UpstreamError),
        ({"kind": "html", "status": 403}, UpstreamError),
        ({"kind": "broken_json"}, UpstreamError),
        ({"kind": "empty_body"}, UpstreamError),
        ({"kind": "reset"}, UpstreamDropped),
        ({"kind": "short_body"}, UpstreamDropped),
    ],
)
async def test_a_login_that_fails_is_asked_once(student, platform, knobs, kind):
    """And nothing of the platform's failure is passed on as its answer."""
    platform.faults.set("authenticate", **knobs)
    assert type(await student.fault(student.log_in)) is kind
    assert platform.counters.calls["authenticate"] == 1


async def test_a_login_has_the_whole_deadline(student, platform):
    """No half of it is kept for a second try that never comes."""
    platform.faults.set("authenticate", delay=0.25)
    assert (await student.log_in(seconds=0.45)).status == 200


# Failures of the pages.


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("style", ["401", "403", "200", "400"])
async def test_a_refused_token_is_told_apart(student, platform, style, endpoint):
    """However the platform words it; and it is not asked again."""
    platform.switch(bad_token=style)
    platform.revoke(student.token)
    fault = await student.fault(getattr(student, endpoint))
    assert type(fault) is TokenRefused
    assert platform.counters.total == 1


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
    ],
)
async def test_a_refusal_in_words_is_told_apart(
    student, platform, status, body, endpoint
):
    """In whatever status and field it comes."""
    platform.faults.set(kind="body", status=status, body=body)
    assert type(await student.fault(getattr(student, endpoint))) is TokenRefused
    assert platform.counters.total == 1


async def test_a_redirect_to_a_login_page_is_a_refusal(student, platform):
    """It is not followed either."""
    platform.faults.set(kind="redirect", location="https://college.invalid/login")
    assert type(await student.fault(student.quizzes)) is TokenRefused


@pytest.mark.parametrize("status", [200, 400, 401, 403, 419])
async def test_a_page_of_html_refuses_no_token(student, platform, status):
    """A firewall in between knows nothing of tokens."""
    platform.faults.set(kind="html", status=status)
    fault = await student.fault(student.course_files)
    assert isinstance(fault, UpstreamError)
    assert fault.status == 502


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
    """What is the platform's own failing is asked again, what is not is not."""
    platform.faults.set("quizzes", kind="status", status=status)
    assert type(await student.fault(student.quizzes, seconds=0.9)) is kind
    assert platform.counters.calls["quizzes"] == calls


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_is_no_answer(student, platform, status):
    """It leads nowhere from here."""
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
    """It is final: the same would come again."""
    platform.faults.set(kind=kind, megabytes=20)
    assert type(await student.fault(getattr(student, endpoint))) is UpstreamError
    assert platform.counters.total == 1


@pytest.mark.parametrize("endpoint", ["course_files", "cards"])
@pytest.mark.parametrize("kind", ["wrong_types", "no_token"])
async def test_json_that_is_no_list_is_an_error(student, platform, endpoint, kind):
    """An answer of another kind says nothing of a student's classes."""
    platform.faults.set(kind=kind)
    assert type(await student.fault(getattr(student, endpoint))) is UpstreamError
    assert platform.counters.total == 1


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_bytes_that_are_not_utf8_cost_no_answer(student, platform, endpoint):
    """Nor does a byte order mark."""
    platform.faults.set(kind="bad_utf8")
    assert await getattr(student, endpoint)()
    platform.faults.clear_faults()
    platform.switch(prefix="\ufeff")
    assert await getattr(student, endpoint)()


async def test_a_warning_before_the_json_makes_it_none(student, platform):
    """What is no JSON stays an error."""
    platform.switch(prefix="<br />\n<b>Warning</b>: x\n")
    assert type(await student.fault(student.course_files)) is UpstreamError


async def test_rows_of_two_students_are_nobodys(student, platform):
    """A mix-up at the platform goes no further."""
    platform.faults.set("course_files", kind="two_students")
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
        (" 7 ", 7.0),
        ("120", 120.0),
        ("86400", 120.0),
        ("9" * 30, 120.0),
        ("-5", 1.0),
        ("1.5", 1.0),
        ("soon", 1.0),
        ("²", 1.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 1.0),
    ],
)
async def test_a_429_is_obeyed(student, platform, said, seconds):
    """For as long as it says, within reason; for a second where it says nothing."""
    platform.faults.set("quizzes", kind="rate_limited", retry_after=said)
    assert (await student.fault(student.quizzes, seconds=0.9)).retry_after == seconds
    again = await student.fault(student.quizzes, seconds=0.9)
    assert again.retry_after == seconds
    assert platform.counters.calls["quizzes"] == 1
    assert await student.cards() is not None


@pytest.mark.parametrize(("said", "seconds"), [("30", 30.0), (None, None), ("x", None)])
async def test_a_503_may_name_a_time(student, platform, said, seconds):
    """Where it names none, our own pauses are as good."""
    platform.faults.set("quizzes", kind="status", status=503, retry_after=said)
    fault = await student.fault(student.quizzes)
    assert type(fault) is UpstreamBusy
    assert fault.retry_after == seconds


# Secrets, and the end.


async def test_an_error_quotes_nothing_of_the_answer(student, platform):
    """Neither it nor its causes: an answer may hold a PIN."""
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
    async with asyncio.timeout(5):
        await platform.until(lambda counters: counters.in_flight == 1)
        await client.close()
        await asyncio.wait([asker])
        await platform.until(lambda counters: counters.in_flight == 0)
    assert asker.cancelled()
