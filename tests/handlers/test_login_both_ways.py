"""A login by the fast path and by its handler: both judge, count and log alike."""

import json
import re
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .browser import SLOW_PATH, Browser
from .test_login import REFUSALS, credentials
from .ways import WAYS

pytestmark = [
    pytest.mark.both_loops,
    pytest.mark.settings(
        LOGIN_LIMIT_PER_MINUTE="1000",
        LOGIN_FAILURES_PER_ADDRESS_PER_MINUTE="1000",
        RATE_LIMIT_PER_ADDRESS_PER_MINUTE="10000",
    ),
]

PATH = "/api/login"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(name="body")
def _body(student):
    return json.dumps(credentials(student))


@pytest.fixture(name="listener_options")
def _listener_options():
    """No connection is idle for too long, however long an example takes to be made."""
    return {"clock": lambda: 0.0}


@pytest.fixture(name="told")
def _told(browser, ways):
    """What is told of a login by either way, but for its token."""

    async def told(body, headers=None):
        both = await ways.both(
            lambda way: browser.post(body, {**way, **(headers or {})}, PATH)
        )
        token = rb'"token":\s*"[^"]*"'
        return [each._replace(body=re.sub(token, b"", each.body)) for each in both]

    return told


@pytest.fixture(name="alike")
def _alike(told):
    """The status of a login and its line in the log, which both ways tell alike."""

    async def alike(body, headers=None):
        short, long = await told(body, headers)
        # What is left of the quota is one less.
        assert short == long._replace(quota=short.quota)
        return short.status, short.line

    return alike


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://evil.example"},
        {"X-Request-Id": "mine.1"},
        {"Connection": "keep-alive"},
        {"Content-Type": "text/json; charset=utf-8"},
        {"Content-Type": ""},
        {"X-Forwarded-For": "203.0.113.7"},
        {"Authorization": "Bearer x", "Accept": "text/calendar"},
    ],
)
async def test_a_login_is_told_alike(alike, body, headers):
    """A login with any further headers is reported alike by both ways."""
    status, line = await alike(body, headers)
    assert (status, line["route"]) == (200, "login")


@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_what_is_told_of_a_logins_call_names_its_request(
    browser, body, platform, access_lines, way
):
    """Whoever follows one request through the log finds why it failed."""
    platform.faults.set("authenticate", kind="html")
    await browser.post(body, {"X-Request-Id": "mine.1", **way}, PATH)
    told = [line for line in access_lines.told() if line["level"] != "info"]
    assert told
    assert {line.get("requestId") for line in told} == {"mine.1"}


@pytest.mark.gen_test
async def test_a_form_is_told_alike(alike, student):
    """A login by form is reported alike by both ways."""
    assert (await alike(urlencode(credentials(student)), FORM))[0] == 200


@pytest.mark.gen_test
@pytest.mark.parametrize(("said", "fields", "status", "code"), REFUSALS)
async def test_a_refusal_is_told_alike(
    alike, student, platform, said, fields, status, code
):
    """A refusal with the platform's fields is reported alike by both ways."""
    platform.switch(
        wrong_password_status=said, wrong_password_body=json.dumps({**fields, "x": 1})
    )
    body = json.dumps({**credentials(student), "password": "wrong"})
    answered, line = await alike(body)
    assert (answered, line["code"]) == (status, code)


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [418, 419, 440, 451, 460, 499])
async def test_a_status_of_the_platforms_own_is_told_alike(
    alike, platform, body, status
):
    """Both paths answer and log an unknown status in the same way."""
    platform.faults.set("authenticate", kind="body", status=status, body='{"msg":"No"}')
    assert (await alike(body))[0] == status


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "html"}, 502),
        ({"kind": "status", "status": 503}, 503),
        ({"kind": "reset"}, 502),
        ({"kind": "no_token"}, 401),
        ({"kind": "rate_limited", "retry_after": "60"}, 429),
    ],
)
async def test_an_ill_platform_is_told_alike(
    alike, platform, clock, body, fault, status
):
    """What goes wrong is the same, and asked for once by each."""
    platform.faults.set("authenticate", **fault)
    clock.stop()  # no pause that it asks for becomes shorter
    assert (await alike(body))[0] == status


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/JSON;charset=x",
        "application/json, text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded; charset=utf-8",
        ";",
        "\tapplication/json",
    ],
)
async def test_an_odd_content_type_is_told_alike(alike, body, content_type):
    """JSON by another name is read or refused by both."""
    status, _ = await alike(body, {"Content-Type": content_type})
    assert status in (200, 400, 415)


texts = st.text(max_size=8) | st.sampled_from(["\x00", "\ud800", " ", "\u00a0x", "x\n"])
values = st.none() | st.booleans() | st.integers() | st.floats() | texts
pairs = st.lists(
    st.tuples(
        st.sampled_from(["username", "password", "x"]), values | st.lists(values)
    ),
    max_size=3,
)
bodies = st.one_of(
    st.binary(max_size=40),
    pairs.map(lambda each: json.dumps(dict(each)).encode()),
    pairs.map(lambda each: json.dumps(each).encode()),
    st.tuples(pairs, st.integers(0, 60), st.binary(max_size=2)).map(
        lambda cut: (whole := json.dumps(dict(cut[0])).encode())[: cut[1]]
        + cut[2]
        + whole[cut[1] :]
    ),
    st.lists(st.sampled_from([b"username=", b"password=p", b"&", b"%", b"%ff", b"+"]))
    .map(b"".join),
)  # fmt: skip


def test_odd_bodies_are_told_alike(io_loop, alike, platform):
    """None fails, and what cannot be a login never reaches the platform."""
    fault = {"kind": "body", "status": 401, "body": "{}"}
    platform.faults.set("authenticate", **fault)

    @settings(max_examples=60)
    @given(body=bodies, form=st.booleans())
    def check(body, form):
        asked = platform.counters.calls["authenticate"]
        status, _ = io_loop.run_sync(lambda: alike(body, FORM if form else None))
        asked = platform.counters.calls["authenticate"] - asked
        assert (status, asked) in ((400, 0), (401, 2))

    check()


@pytest.mark.gen_test
async def test_a_login_uses_up_the_same(told, body):
    """Both paths take one from the account's bucket, and none for a faulty body."""
    left = []
    for sent in (body, "{", body):
        left += [each.quota for each in await told(sent)]
    assert [each.partition(";")[0] for each in left[2:4]] == ['"address"'] * 2
    kept = [int(each.partition("r=")[2]) for each in (*left[:2], *left[4:])]
    assert kept == [999, 998, 997, 996]


@pytest.mark.settings(
    LOGIN_LIMIT_PER_MINUTE="2",
    LOGIN_FAILURES_PER_ADDRESS_PER_MINUTE="4",
    RATE_LIMIT_PER_ADDRESS_PER_MINUTE="10",
)
@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_each_limit_refuses_in_its_turn(browser, student, college, way, worker):
    """The account's, that of refused logins, the address's; successes are none."""
    told = []

    async def log_in(number, password=None):
        sent = credentials(college.student(number))
        body = json.dumps({**sent, **({"password": password} if password else {})})
        answer = await browser.post(body, way, PATH)
        kind = answer.headers["ratelimit"].split('"')[1]
        told.append((answer.status, kind))
        assert ("retry-after" in answer.headers) == (answer.status == 429)

    for _ in range(3):
        await log_in(0)
    for number in range(1, 6):
        await log_in(number, "wrong")
    for _ in range(3):
        await log_in(6)
    assert told == [
        *[(200, "login")] * 2,
        (429, "login"),
        *[(401, "login")] * 4,
        (429, "login-failures"),
        (429, "login-failures"),
        (429, "login-failures"),
        (429, "address"),
    ]
    exposed = worker.metrics.exposition().decode()
    counted = dict(re.findall(r'limited_requests_total{kind="(.*?)"} (\d+)', exposed))
    assert (counted["login"], counted["login-failures"]) == ("1", "3")
    assert counted["address"] == "1"


@pytest.mark.gen_test
@pytest.mark.parametrize("size", [8_000, 8_192, 8_193, 65_536, 65_537])
async def test_a_body_may_be_as_large_by_either_way(http_server, http_port, body, size):
    """A small one is taken by the fast path, a larger one by the handler."""
    for way in ({}, SLOW_PATH):
        browser = await Browser.open(http_port)  # a 413 ends its connection
        answer = await browser.post(body.ljust(size), way, PATH)
        browser.writer.close()
        assert answer.status == (200 if size <= 65_536 else 413)


@pytest.mark.gen_test
async def test_other_forms_are_left_to_the_handler(browser, body, taken):
    """The fast path leaves other methods and requests that are not simple."""
    browser.send(PATH, "x")
    assert (await browser.read()).status == 405
    packed = {"Content-Encoding": "gzip"}
    assert (await browser.post(body, packed, PATH)).status == 415
    browser.writer.write(
        b"POST /api/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body.encode())
    )
    assert (await browser.read()).status == 200
    assert taken == []
