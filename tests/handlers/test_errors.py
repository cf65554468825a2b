"""Failures as a client sees them: status, body, headers, and what is logged."""

import base64
import json

import pytest

from aims_server.demo.platform import SimulatedPlatform
from aims_server.service import one_call_pages

from .ways import WAYS

# Until then some failures are tried again.
pytestmark = pytest.mark.settings(REQUEST_TIMEOUT_SECONDS="40")

FIELDS = ["error", "message", "code", "requestId", "timestamp"]


def code_of(answer) -> str:
    """The stable code of an error body, checked for its form on the way."""
    body = json.loads(answer.body)
    assert list(body) == FIELDS
    assert body["error"] == body["message"]
    assert body["requestId"] == answer.headers["X-Request-Id"]
    assert answer.headers["Content-Type"].startswith("application/json")
    return str(body["code"])


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "Bearer ü", "abc",
     "Bearer " + "x" * 4097, "Bearer a;b", "Bearer \"x\""],
)  # fmt: skip
async def test_no_token_no_call(front, platform, authorization):
    """A missing or malformed token is 401 and never reaches the platform."""
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await front.ask("/api/quiz", headers=headers)
    assert answer.code == 401
    assert code_of(answer) == "unauthorized"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert platform.counters.total == 0


@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_a_token_of_any_claims_is_the_platforms_to_refuse(front, way):
    """A number as large as a token has room for breaks nothing here."""
    claims = base64.urlsafe_b64encode(b'{"exp":-1%s}' % (b"0" * 2001)).decode()
    answer = await front.ask("/api/quiz", f"h.{claims}.s", headers=way)
    assert answer.code == 401
    assert code_of(answer) == "unauthorized"


@pytest.mark.gen_test
@pytest.mark.parametrize("token", ["", "a b", 5, None, "x" * 4097, "ü"])
async def test_a_malformed_token_in_a_body_is_a_400(front, platform, token):
    """A bad token in a body is a bad field, not a 401."""
    answer = await front.ask("/api/attendance", method="POST", body={"token": token})
    assert answer.code == 400
    assert code_of(answer) == "invalid_request"
    assert platform.counters.total == 0


@pytest.mark.gen_test
@pytest.mark.parametrize("style", ["401", "403", "200", "400"])
@pytest.mark.parametrize("path", ["attendance", "all-attendance", "quiz"])
async def test_a_refused_token_is_a_401(
    front, token, platform: SimulatedPlatform, path, style, access_lines
):
    """However the platform words its refusal; and one line is all that is logged."""
    platform.switch(bad_token=style)
    platform.revoke(token)
    answer = await front.ask(f"/api/{path}", token)
    assert answer.code == 401
    assert code_of(answer) == "unauthorized"
    assert len(access_lines.told()) == 1


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/api/attendance", "/api/attendance?by=tornado"])
async def test_a_fault_of_ours_is_a_500(front, token, monkeypatch, caplog, path):
    """Both paths answer in the contract's form and log the traceback."""
    made_up = KeyError("made up")

    def broken(*_: object) -> None:
        raise made_up

    monkeypatch.setattr(one_call_pages, "attendance_page", broken)
    answer = await front.ask(path, token)
    assert answer.code == 500
    assert code_of(answer) == "internal_error"
    assert b"made up" not in answer.body
    assert made_up in [line.exc_info[1] for line in caplog.records if line.exc_info]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("kind", "knobs", "status", "code"),
    [
        ("status", {"status": 500}, 502, "upstream_error"),
        ("status", {"status": 502}, 502, "upstream_error"),
        ("status", {"status": 404}, 502, "upstream_error"),
        ("status", {"status": 503}, 503, "upstream_unavailable"),
        ("rate_limited", {"retry_after": "50"}, 503, "upstream_unavailable"),
        ("html", {}, 502, "upstream_error"),
        ("html", {"status": 503}, 503, "upstream_unavailable"),
        ("broken_json", {}, 502, "upstream_error"),
        ("truncated_json", {}, 502, "upstream_error"),
        ("wrong_types", {}, 502, "upstream_error"),
        ("empty_body", {}, 502, "upstream_error"),
        ("nan", {}, 502, "upstream_error"),
        ("deep_json", {}, 502, "upstream_error"),
        ("large", {"megabytes": 10}, 502, "upstream_error"),
        ("redirect", {}, 502, "upstream_error"),
        ("reset", {}, 502, "upstream_error"),
        ("reset_midway", {}, 502, "upstream_error"),
        ("short_body", {}, 502, "upstream_error"),
        ("close_before_answer", {}, 502, "upstream_error"),
        ("bad_header", {}, 502, "upstream_error"),
        ("huge_headers", {}, 502, "upstream_error"),
        ("bad_chunk", {}, 502, "upstream_error"),
        ("gzip_bomb", {}, 502, "upstream_error"),
        ("bad_gzip", {}, 502, "upstream_error"),
    ],
)
async def test_a_failing_platform(
    front, token, platform, kind, knobs, status, code, capfd, access_lines
):
    """Every unusable answer has its status and code, one log line, no traceback."""
    platform.faults.set("course_files", kind=kind, **knobs)
    answer = await front.ask("/api/attendance", token)
    assert answer.code == status
    assert code_of(answer) == code
    assert "<" not in answer.body.decode()
    failure, _ = access_lines.told()
    assert failure["level"] == "warning"
    assert failure["endpoint"] == "course_files"
    assert failure["cause"]
    assert capfd.readouterr().err == ""


@pytest.mark.settings(REQUEST_TIMEOUT_SECONDS="0.5")
@pytest.mark.gen_test
@pytest.mark.parametrize("kind", ["hang", "hang_midway", "trickle", "endless"])
async def test_a_hung_platform_is_a_504(front, token, platform, kind):
    """The deadline ends every wait."""
    platform.faults.set("course_files", kind=kind)
    answer = await front.ask("/api/attendance", token)
    assert answer.code in (504, 502)
    assert kind == "endless" or code_of(answer) == "upstream_timeout"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "path",
    [
        "/page",
        "/api",
        "/api/",
        "/api/attendance/",
        "/api/Quiz",
        "/api/%71uiz",
        "/%2e%2e/etc",
    ],
)
async def test_unknown_paths(front, path):
    """404 in JSON, by whatever method."""
    for method in ("GET", "DELETE", "BREW"):
        answer = await front.ask(path, method=method)
        assert answer.code == 404
        assert code_of(answer) == "not_found"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/api/login", "POST, OPTIONS"),
        ("DELETE", "/api/quiz", "GET, HEAD, OPTIONS"),
        ("POST", "/api/all-attendance", "GET, HEAD, OPTIONS"),
        ("PUT", "/api/attendance", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("BREW", "/api/quiz", "GET, HEAD, OPTIONS"),
    ],
)
async def test_wrong_methods(front, method, path, allow):
    """405 in JSON, with what is allowed."""
    answer = await front.ask(path, method=method, body=b"")
    assert answer.code == 405
    assert code_of(answer) == "method_not_allowed"
    assert answer.headers["Allow"] == allow


@pytest.mark.gen_test
async def test_a_request_id_is_taken_over(front):
    """A well-formed id of the client's is everywhere in the answer."""
    answer = await front.ask("/nowhere", headers={"X-Request-Id": "trace-1.a_B"})
    assert answer.headers["X-Request-Id"] == "trace-1.a_B"
    assert code_of(answer) == "not_found"


@pytest.mark.gen_test
@pytest.mark.parametrize("offered", ["", "a b", "x" * 65, "ü", "a/b", '"'])
async def test_a_malformed_request_id_is_replaced(front, offered):
    """Anything else gets a new one."""
    answer = await front.ask("/nowhere", headers={"X-Request-Id": offered})
    assert answer.headers["X-Request-Id"] not in (offered, "")


@pytest.mark.gen_test
async def test_no_server_is_named(front):
    """No answer tells what serves it."""
    for path in ("/health", "/nowhere", "/api/quiz"):
        answer = await front.ask(path)
        assert "Server" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
