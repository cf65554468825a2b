"""POST /api/login, through HTTP."""

import json

import pytest

from aims_server.demo.college import College, Student
from aims_server.demo.platform import SimulatedPlatform


def credentials(student: Student) -> dict[str, str]:
    """The body of a student's login."""
    return {"username": student.username, "password": student.password}


@pytest.mark.gen_test
async def test_login_passes_the_platforms_answer_on(front, student, college: College):
    """A login's answer is the platform's own, with its token, kept by nobody."""
    answer = await front.ask("/api/login", method="POST", body=credentials(student))
    body = json.loads(answer.body)
    assert answer.code == 200
    claims = college.claims(body["token"])
    assert claims is not None
    assert claims.sub == student.id
    assert body["response"]["username"] == student.username
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("kind", "knobs", "status", "code"),
    [
        ("html", {}, 502, "upstream_error"),
        ("html", {"status": 500}, 502, "upstream_error"),
        ("broken_json", {}, 502, "upstream_error"),
        ("status", {"status": 500}, 502, "upstream_error"),
        ("status", {"status": 503}, 503, "upstream_unavailable"),
        ("reset", {}, 502, "upstream_error"),
        ("redirect", {}, 502, "upstream_error"),
    ],
)
async def test_a_failing_platform_fails_a_login_once(
    front, student, platform: SimulatedPlatform, kind, knobs, status, code
):
    """Whatever goes wrong, a login is tried once and gets the contract's error."""
    platform.faults.set("authenticate", kind=kind, **knobs)
    answer = await front.ask("/api/login", method="POST", body=credentials(student))
    assert answer.code == status
    assert json.loads(answer.body)["code"] == code
    assert platform.counters.calls["authenticate"] == 1
    waits = {"upstream_unavailable": knobs.get("retry_after", "1")}
    assert answer.headers.get("Retry-After") == waits.get(code)


@pytest.mark.gen_test
async def test_a_limit_of_the_platform_is_one_accounts(
    front, college: College, student, platform
):
    """429 with the platform's wait for the account that was told so; the next login
    from the same address reaches the platform.
    """
    platform.faults.set("authenticate", kind="rate_limited", retry_after="60", count=1)
    first = await front.ask("/api/login", method="POST", body=credentials(student))
    assert (first.code, first.headers["Retry-After"]) == (429, "60")
    assert json.loads(first.body)["code"] == "rate_limited"
    assert first.headers["Server-Timing"].startswith("upstream;dur=")
    assert await front.log_in(college.student(1))


@pytest.mark.gen_test
@pytest.mark.parametrize(("said", "told"), [("900", "900"), ("9" * 30, "86400")])
async def test_a_limit_of_the_platform_has_its_time(
    front, student, platform, said, told
):
    """A quarter of an hour is told whole: who asks earlier may begin it anew."""
    platform.faults.set("authenticate", kind="rate_limited", retry_after=said)
    answer = await front.ask("/api/login", method="POST", body=credentials(student))
    assert (answer.code, answer.headers["Retry-After"]) == (429, told)


@pytest.mark.gen_test
async def test_a_limit_of_the_platform_needs_no_words(front, platform, student):
    """A page of HTML with a 429 limits the login too, in our words."""
    platform.faults.set("authenticate", kind="html", status=429)
    answer = await front.ask("/api/login", method="POST", body=credentials(student))
    body = json.loads(answer.body)
    assert (answer.code, body["code"]) == (429, "rate_limited")
    assert "status" not in body


@pytest.mark.gen_test
async def test_a_limit_of_the_platform_has_its_words(front, platform, student):
    """The platform's fields stand beside ours, as in every refused login."""
    platform.faults.set(
        "authenticate",
        kind="body",
        status=429,
        body=json.dumps({"status": 0, "msg": "Too many attempts"}),
    )
    answer = await front.ask("/api/login", method="POST", body=credentials(student))
    body = json.loads(answer.body)
    assert answer.code == 429
    assert (body["status"], body["msg"]) == (0, "Too many attempts")
    assert (body["error"], body["code"]) == ("Too many attempts", "rate_limited")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.gen_test
@pytest.mark.parametrize("name", ["{} ", "\u00a0{}", "{}\n", "\t{}\u2003\r\n"])
async def test_a_user_name_is_sent_trimmed(front, student, name):
    """What a keyboard adds, or a copied name has round it, is no fault of it."""
    body = {**credentials(student), "username": name.format(student.username)}
    answer = await front.ask("/api/login", method="POST", body=body)
    assert answer.code == 200


REFUSALS = [
    (401, {"status": 0, "msg": "Invalid username or password"}, 401, "unauthorized"),
    (200, {"status": 0, "msg": "No such user"}, 401, "unauthorized"),
    (500, {"status": 0, "msg": "Account locked"}, 401, "unauthorized"),
    (403, {"error": "Not from here"}, 403, "forbidden"),
    (422, {"message": "The username is odd."}, 422, "invalid_request"),
    (401, {"status": 0}, 401, "unauthorized"),
]


@pytest.mark.gen_test
@pytest.mark.parametrize(("said", "fields", "status", "code"), REFUSALS)
async def test_a_refusal_has_our_fields_beside_the_platforms(
    front, student, platform, said, fields, status, code
):
    """Frontends written for either read theirs; `error` is the platform's sentence."""
    platform.switch(wrong_password_status=said, wrong_password_body=json.dumps(fields))
    body = {**credentials(student), "password": "wrong"}
    answer = await front.ask("/api/login", method="POST", body=body)
    told = json.loads(answer.body)
    assert (answer.code, told["code"]) == (status, code)
    words = next((fields[n] for n in ("msg", "message", "error") if n in fields), None)
    assert (
        told["error"]
        == told["message"]
        == (words or "The attendance platform refuses this login.")
    )
    assert told["requestId"] == answer.headers["X-Request-Id"]
    assert told["timestamp"].endswith("Z")
    assert told.get("status") == fields.get("status")


@pytest.mark.gen_test
@pytest.mark.parametrize("said", [200, 403, 429])
async def test_a_refusal_tells_no_secret(front, student, platform, said):
    """Nothing is passed on but its status and its sentence."""
    fields = {
        "status": 0,
        "msg": "Change your password",
        "token": "secret" if said != 200 else None,
        "response": {"id": 5900001, "string10": "secret", "token": "secret"},
        "input": [{"password": "secret"}],
        "pin": "secret",
    }
    platform.faults.set(kind="body", status=said, body=json.dumps(fields))
    answer = await front.ask("/api/login", method="POST", body=credentials(student))
    told = json.loads(answer.body)
    assert b"secret" not in answer.body
    assert (told["status"], told["msg"]) == (0, told["error"])


@pytest.mark.gen_test
@pytest.mark.parametrize("nested", [{"pin": "secret"}, ["secret", {"pin": "secret"}]])
async def test_a_sentence_that_is_nested_tells_no_secret(
    front, student, platform, nested
):
    """Nested text is dropped, from `status` too: only flat fields are passed on."""
    fields = {"status": nested, "msg": {"message": "Change your PIN", "sent": nested}}
    platform.faults.set(kind="body", status=403, body=json.dumps(fields))
    answer = await front.ask("/api/login", method="POST", body=credentials(student))
    assert b"secret" not in answer.body
    assert json.loads(answer.body)["error"] == "Change your PIN"


@pytest.mark.gen_test
@pytest.mark.parametrize("body", ["403 Forbidden", "[proxy] blocked"])
async def test_what_only_begins_as_json_is_no_refusal(front, student, platform, body):
    """It is a proxy's word, which says nothing of the account."""
    platform.faults.set(kind="body", status=403, body=body)
    answer = await front.ask("/api/login", method="POST", body=credentials(student))
    assert answer.code == 502


@pytest.mark.gen_test
async def test_a_500_of_a_program_is_no_refusal(front, student, platform):
    """A program's message in a 500 is no refusal, and no student sees it."""
    text = json.dumps({"msg": "SQLSTATE[42S02]: table users not found"})
    platform.switch(wrong_password_status=500, wrong_password_body=text)
    body = {**credentials(student), "password": "wrong"}
    answer = await front.ask("/api/login", method="POST", body=body)
    assert answer.code == 502
    assert "SQLSTATE" not in answer.body.decode()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "invalid_request"),
        (b'{"username": "u"}', None, 400, "invalid_request"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, None, 400, "invalid_request"),
        (b"username=u", "application/x-www-form-urlencoded", 400, "invalid_request"),
        (b"a", "text/plain", 415, "unsupported_media_type"),
        (b" " * 65_537, "application/json", 413, "too_large"),
        (b" " * 3_000_000, "application/json", 413, "too_large"),
    ],
)
async def test_bad_bodies_never_reach_the_platform(
    front, platform, body, content_type, status, code
):
    """A body that cannot be a login is refused here, in JSON."""
    headers = {"Content-Type": content_type} if content_type else {}
    answer = await front.ask("/api/login", method="POST", body=body, headers=headers)
    assert answer.code == status
    assert json.loads(answer.body)["code"] == code
    assert platform.counters.total == 0


@pytest.mark.gen_test
async def test_a_compressed_body_is_refused(front, platform):
    """A request with Content-Encoding is never unpacked."""
    answer = await front.ask(
        "/api/login",
        method="POST",
        body={"username": "u", "password": "p"},
        headers={"Content-Encoding": "gzip"},
    )
    assert answer.code == 415
    assert answer.headers["Accept-Encoding"] == "identity"
    assert platform.counters.total == 0


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ('\ufeff{"status":0,"msg":"Wrong password"}', "Wrong password"),
        (r'{"status":0,"msg":"Wrong password \ud83d"}', "Wrong password \ufffd"),
        ('{"msg":"<b>Wrong</b> name &amp; password"}', "Wrong name & password"),
        ('{"msg":"<br>"}', "The attendance platform refuses this login."),
    ],
)
async def test_odd_text_of_a_refusal_is_read(
    front, student, platform, sent, text, status
):
    """A byte order mark, a cut emoji or HTML leaves a refusal one, told as text."""
    platform.faults.set(kind="body", status=status, body=sent)
    answer = await front.ask("/api/login", method="POST", body=credentials(student))
    assert answer.code == 401
    assert json.loads(answer.body)["error"] == text


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [401, 403, 423])
@pytest.mark.parametrize("body", [" ", "{}", "[]", "null", '"Wrong password"'])
async def test_a_refusal_may_say_nothing(front, student, platform, status, body):
    """The platform's status is enough, and stays."""
    platform.faults.set(kind="body", status=status, body=body)
    answer = await front.ask("/api/login", method="POST", body=credentials(student))
    assert answer.code == status
    refusal = "The attendance platform refuses this login."
    assert json.loads(answer.body)["message"] == refusal
