"""No secret in any output, whatever the log level and whatever goes wrong
(docs/reliability.rst P32).
"""

import json
import urllib.error
import urllib.request

import pytest

from aims_server.demo.college import College

from ..waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.process

ILLNESSES = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 401},
    {"kind": "html"},
    {"kind": "broken_json"},
    {"kind": "wrong_types"},
    {"kind": "reset"},
    {"kind": "bad_header"},
    {"kind": "redirect"},
    {"kind": "rate_limited", "retry_after": "1"},
    {"kind": "gzip_bomb"},
    {"kind": "hang"},
]
JSON = "application/json"
CANARY_TOKEN = "canary.token-7f3a9c"
CANARY_PASSWORD = "canary-password-51d0"


def exchange(url: str, path: str, **options) -> bytes:
    """Body and headers of an answer, as one text to search."""
    request = urllib.request.Request(url + path, **options)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            text: bytes = answer.read()
            return str(answer.headers).encode() + text
    except urllib.error.HTTPError as refusal:
        with refusal:
            return str(refusal.headers).encode() + refusal.read()


def nonsense(url: str) -> list[bytes]:
    """Answers to bodies that are no request but hold a token."""
    bodies = (
        f'{{"token": "{CANARY_TOKEN}", "x": ',
        f'{{"token": ["{CANARY_TOKEN}"]}}',
        f'{{"username": "{CANARY_TOKEN}"}}',
    )
    return [
        exchange(url, path, data=body.encode(), headers={"Content-Type": JSON})
        for body in bodies
        for path in ("/api/attendance", "/api/login")
    ]


def figures(url: str) -> list[bytes]:
    """What /metrics tells strangers, Prometheus and people."""
    bearer = {"Authorization": "Bearer canary-metrics-token"}
    return [
        exchange(url, "/metrics"),
        exchange(url, "/metrics", headers=bearer),
        exchange(url, "/metrics", headers={**bearer, "Accept": JSON}),
    ]


def test_no_secret_reaches_any_output(start, platform):
    """At DEBUG no output of logins, pages, faults and nonsense holds one."""
    college = College(students=200)
    student = college.student(7)
    service = start(
        EXTERNAL_API_BASE=platform.url,
        LOG_LEVEL="debug",
        WORKERS="1",
        REQUEST_TIMEOUT_SECONDS="1",
        RATE_LIMIT_PER_MINUTE="1000",
        METRICS_TOKEN="canary-metrics-token",
    ).wait_until_serving()
    form = f"username={student.username}&password={student.password}".encode()
    answer = exchange(service.url, "/api/login", data=form)
    token = json.loads(answer[answer.index(b"{") :])["token"]
    seen = []

    def every_page(bearer: str) -> None:
        headers = {"Authorization": f"Bearer {bearer}", "Cache-Control": "no-cache"}
        for path in (
            "/api/attendance",
            "/api/all-attendance",
            "/api/quiz",
            f"/api/subject-attendance?subject=x&studentId={student.id}&cfId=1",
            f"/api/quiz?token={bearer}",
            "/nowhere",
        ):
            body = exchange(service.url, path, headers=headers)
            if b'"code"' in body:
                seen.append(body)

    every_page(token)
    every_page(CANARY_TOKEN)
    for illness in ILLNESSES:
        platform.turn(clear="*", faults={"*": illness})
        every_page(CANARY_TOKEN + str(len(seen)))
        wrong = f"username={student.username}&password={CANARY_PASSWORD}".encode()
        seen.append(exchange(service.url, "/api/login", data=wrong))
    platform.turn(clear="*")
    seen += nonsense(service.url)
    seen += figures(service.url)
    service.process.terminate()
    assert service.wait() == 0
    outputs = service.log + b"\n".join(seen).decode()
    assert len(seen) > 50
    assert "Traceback" not in service.log
    for secret in (
        token,
        token[-20:],
        CANARY_TOKEN,
        CANARY_PASSWORD,
        student.password,
        "canary-metrics-token",
        "quiz_link",
    ):
        assert secret not in outputs
    assert f"pin={student.pin}" not in outputs
