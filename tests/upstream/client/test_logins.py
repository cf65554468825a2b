"""Logins: what is passed on, and which are refused."""

import contextlib
import json

import pytest

from aims_server.errors import (
    RateLimited,
    UpstreamBusy,
    UpstreamDropped,
    UpstreamError,
    UpstreamFault,
    UpstreamTimeout,
)
from aims_server.web.tokens import is_token

from ...waiting import EVER_LONGER
from .conftest import ORIGIN

pytestmark = pytest.mark.gen_test


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
    """A password with characters that a form must escape arrives unchanged."""
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
    ("text", "status"),
    [
        ("Account locked", 401),
        ("<b>Account</b>&nbsp;locked", 401),
        ("Try later", None),
        ("<b>", None),
        ("<b>user</b> is null", None),
    ],
)
async def test_a_500_about_the_account_is_a_refusal(student, platform, text, status):
    """The company's own app shows such a text; any other 500 is a fault."""
    platform.switch(wrong_password_status=500, wrong_password_msg=text)
    if status is None:
        fault = await student.fault(student.log_in, password="wrong")
        assert type(fault) is UpstreamFault
    else:
        answer = await student.log_in(password="wrong")
        shown = answer.status, answer.text, answer.token
        assert shown == (status, "Account locked", None)


async def test_a_login_tells_whose_it_is(student):
    """It has the student's number and admission number."""
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
    """There is one call, and none of the failure is passed on as an answer."""
    platform.faults.set("authenticate", **knobs)
    assert type(await student.fault(student.log_in)) is kind
    assert platform.counters.calls["authenticate"] == 1


async def test_a_login_at_a_wrong_path_fails_with_its_status(student, platform):
    """The log says 404, rather than that no object was sent."""
    platform.faults.set("authenticate", kind="html", status=404)
    fault = await student.fault(student.log_in)
    assert fault.cause.kind == "status_404"


async def test_a_login_has_the_whole_deadline(student, platform):
    """No half of it is kept for a second try that never comes."""
    for seconds in EVER_LONGER:
        platform.faults.set("authenticate", delay=0.6 * seconds)
        with contextlib.suppress(UpstreamTimeout):
            assert (await student.log_in(seconds=seconds)).status == 200
            return
    raise AssertionError("each was over too soon")
