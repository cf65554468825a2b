import asyncio
import socket
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.simple_httpclient import HTTPStreamClosedError

from aims_server.demo.platform import SimulatedPlatform

from ..waiting import skip_without_ipv6
from .conftest import COURSE_FILES, json_of

CARDS = "/cards"
QUIZZES = "/custom/myEvaluatedQuizzes"
SCHEDULE = "/custom/getMyScheduleStudent"
LOGIN = "/admin/authenticate"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def multipart(fields):
    """Encode a form as axios' postForm does."""
    parts = (
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return "".join(parts) + "--b--\r\n"


ENCODINGS: dict[str, Callable[[dict[str, str]], Any]] = {
    JSON: lambda fields: msgspec.json.encode(fields),
    FORM: urlencode,
    "multipart/form-data; boundary=b": multipart,
}


async def log_in(caller, student, **changes):
    """Log in with JSON, with other fields than the student's where given."""
    fields = {"username": student.username, "password": student.password} | changes
    return await caller.send("POST", LOGIN, fields, Content_Type=JSON)


@pytest.mark.gen_test
async def test_an_ipv6_address_is_told_as_one_that_works(platform):
    """Both URLs, of API and controls, have the address in brackets."""
    skip_without_ipv6()
    other = SimulatedPlatform(platform.college)
    base_url = await other.start(host="::1")
    assert base_url.startswith("http://[::1]:")
    try:
        for url in (f"{base_url}/elsewhere", other.control_url):
            assert (await AsyncHTTPClient().fetch(url)).code == 200
    finally:
        await other.stop()


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("kind", ENCODINGS)
@pytest.mark.gen_test
async def test_login_takes_three_encodings(caller, platform, kind, index):
    """JSON, urlencoded and multipart log in, whatever is in the password."""
    student = platform.college.student(index)
    fields = {"username": student.username.lower(), "password": student.password}
    body = ENCODINGS[kind](fields)
    answer = json_of(await caller.send("POST", LOGIN, body, Content_Type=kind))
    assert answer["status"] == 1
    assert answer["response"]["id"] == student.id
    assert answer["response"]["string10"] == student.pin
    assert platform.college.claims(answer["token"]).sub == student.id


@pytest.mark.gen_test
async def test_repeated_logins_give_new_tokens(caller, platform):
    """The second login's token differs and the first one's still works."""
    student = platform.college.student(0)
    first, second = [json_of(await log_in(caller, student))["token"] for _ in range(2)]
    assert first != second
    caller.token = first
    assert await caller.rows(COURSE_FILES)


@pytest.mark.parametrize("fields", [{"password": "no"}, {"username": "2023B1599999"}])
@pytest.mark.gen_test
async def test_wrong_password_is_a_switch(caller, platform, fields):
    """401 with a text, unless the switches say another status and body."""
    student = platform.college.student(0)
    answer = await log_in(caller, student, **fields)
    assert answer.code == 401
    assert json_of(answer)["status"] == 0
    platform.switch(wrong_password_status=200, wrong_password_body='{"no":1}')
    answer = await log_in(caller, student, **fields)
    assert (answer.code, answer.body) == (200, b'{"no":1}')


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"username":1}', b"\xff"])
@pytest.mark.gen_test
async def test_login_without_fields_is_a_wrong_password(caller, body):
    """Nothing sensible in the body is answered like a wrong password."""
    assert (await caller.send("POST", LOGIN, body, Content_Type=JSON)).code == 401


@pytest.mark.gen_test
async def test_origin_check_is_a_switch(caller, platform):
    """With the switch only the portal's own origin may log in."""
    platform.switch(required_origin="https://portal.example.invalid")
    student = platform.college.student(0)
    assert (await log_in(caller, student)).code == 403
    fields = {"username": student.username, "password": student.password}
    answer = await caller.send(
        "POST",
        LOGIN,
        fields,
        Content_Type=JSON,
        Origin="https://portal.example.invalid",
    )
    assert answer.code == 200


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.gen_test
async def test_a_status_without_a_body_has_none(caller, platform, status):
    """A fault may name it; the answer is sound HTTP."""
    platform.faults.set(kind="status", status=status)
    text = await caller.raw()
    assert text.startswith(b"HTTP/1.1 %d " % status)
    assert text.endswith(b"\r\n\r\n")


@pytest.mark.gen_test
async def test_course_files_are_the_colleges(caller, platform):
    """With the parameter: every course with its summary, then the Total row."""
    student = platform.college.student(0)
    found = await caller.rows(COURSE_FILES, embed_attendance_summary=1)
    assert found == platform.college.course_files(student)


@pytest.mark.gen_test
async def test_course_files_without_attendance(caller, platform):
    """Without the parameter: the same rows less summary and Total row."""
    student = platform.college.student(0)
    wanted = platform.college.course_files(student)[:-1]
    for row in wanted:
        del row["attendance_summary"]
    assert await caller.rows(COURSE_FILES) == wanted


@pytest.mark.gen_test
async def test_cards_of_one_course(caller, platform):
    """cf_id and fk_student pick one course's records; sort_by orders them."""
    student = platform.college.student(0)
    course = platform.college.courses(student)[1]
    wanted = platform.college.cards(student, course.cf_id)
    ask = {"equalto___fk_student": student.id, "equalto___cf_id": course.cf_id}
    for order in ("+datetime1", "datetime1", " datetime1"):
        assert await caller.rows(CARDS, **ask, sort_by=order) == wanted
    assert await caller.rows(CARDS, **ask, sort_by="-datetime1") == wanted[::-1]


@pytest.mark.parametrize(
    "ask",
    [
        {"equalto___cf_id": 7_399_999},
        {"equalto___cf_id": "x"},
        {"equalto___cf_id": ""},
        {"equalto___fk_student": "2023B1500000"},
        {"equalto___fk_student": 5_999_999},
    ],
)
@pytest.mark.gen_test
async def test_filters_that_match_nothing(caller, platform, ask):
    """A course or a student that does not exist has no records."""
    course = platform.college.courses(platform.college.student(0))[1]
    sound = {"equalto___cf_id": course.cf_id}
    assert await caller.rows(CARDS, **sound)
    assert await caller.rows(CARDS, **sound | ask) == []


@pytest.mark.gen_test
async def test_cards_take_the_token_in_the_url(caller, platform):
    """?token= does instead of the header on /cards, is counted, and only there."""
    token, caller.token = caller.token, ""
    assert (await caller.get(CARDS, token=token)).code == 200
    assert platform.counters.query_tokens == 1
    assert (await caller.get(COURSE_FILES, token=token)).code == 401


@pytest.mark.gen_test
async def test_another_students_cards_are_a_switch(caller, platform):
    """A token reads its own student's records; with the switch, any student's."""
    other = platform.college.student(1)
    course = platform.college.courses(other)[1]
    ask = {"equalto___fk_student": other.id, "equalto___cf_id": course.cf_id}
    assert (await caller.get(CARDS, **ask)).code == 403
    platform.switch(read_others=True)
    wanted = platform.college.cards(other, course.cf_id)
    assert await caller.rows(CARDS, **ask, sort_by="datetime1") == wanted


@pytest.mark.parametrize("path", [COURSE_FILES, CARDS, QUIZZES, SCHEDULE])
@pytest.mark.parametrize(
    ("style", "code", "body"),
    [
        ("401", 401, {"status": 0, "msg": "Token is invalid"}),
        ("403", 403, {"status": 0, "msg": "Token is invalid"}),
        ("200", 200, {"status": 0, "msg": "Token is invalid"}),
        ("400", 400, {"error": "token_invalid"}),
    ],
)
@pytest.mark.gen_test
async def test_bad_token_is_a_switch(caller, platform, path, style, code, body):
    """A revoked token is refused everywhere, in the style of the switch."""
    assert (await caller.get(path)).code == 200
    platform.switch(bad_token=style)
    platform.revoke(caller.token)
    answer = await caller.get(path)
    assert (answer.code, json_of(answer)) == (code, body)


@pytest.mark.gen_test
async def test_expired_forged_and_missing_tokens_are_bad(caller, platform):
    """What is no token of now is refused like a revoked one."""
    student = platform.college.student(0)
    for token in ("", "x", "a.b.c", platform.college.token(student, life=-1)):
        caller.token = token
        assert (await caller.get(COURSE_FILES)).code == 401


@pytest.mark.gen_test
async def test_quiz_links_carry_pin_and_token(caller, platform):
    """The HTML link holds the asker's token and PIN, as the real one does."""
    student = platform.college.student(0)
    found = await caller.rows(QUIZZES)
    assert 3 <= len(found) <= 8
    for row in found:
        link = unescape(row["quiz_link"]).split('"')[1]
        query = parse_qs(urlsplit(urlsplit(link).fragment).query)
        assert query["pin"] == [student.pin]
        assert query["token"] == [caller.token]
        assert query["unique_code"] == [row["quiz_uc"]]


@pytest.mark.gen_test
async def test_schedule_is_the_month_in_html(caller, platform):
    """A header row with the month's days, then a row per course that names its id."""
    header, *courses = await caller.rows(SCHEDULE)
    assert header["name"] == "<b>November-2025</b>"
    assert header["c14"] == "<b>Fri</b>"
    assert "c31" not in header
    student = platform.college.student(0)
    ids = [course.cf_id for course in platform.college.courses(student)]
    assert [row["cf_id"] for row in courses] == ids
    texts = {cell for row in courses for cell in row.values()}
    assert "<div style='color:green'>14:00 - 15:40</div>" in texts
    assert any("name_text" not in row for row in courses)


@pytest.mark.gen_test
async def test_switches_change_kept_answers(caller, platform):
    """A switch counts from the next call on, also for what was asked before."""
    assert isinstance((await caller.rows(COURSE_FILES))[0]["id"], int)
    platform.switch(ids_as_text=True)
    assert isinstance((await caller.rows(COURSE_FILES))[0]["id"], str)
    with pytest.raises(msgspec.ValidationError):
        platform.switch(colour="red")


@pytest.mark.gen_test
async def test_held_answers_wait_for_release(caller, platform):
    """Held calls are in flight, counted per endpoint, until they are released."""
    platform.hold("cards")
    held = [asyncio.ensure_future(caller.rows(CARDS)) for _ in range(3)]
    await platform.until(lambda counters: counters.now["cards"] == 3)
    assert await caller.rows(COURSE_FILES)
    assert not any(call.done() for call in held)
    platform.release("cards")
    assert len(await asyncio.gather(*held)) == 3
    assert (platform.counters.peak, platform.counters.in_flight) == (4, 0)


@pytest.mark.gen_test
async def test_release_lifts_every_hold(caller, platform):
    """release() without a name opens what hold() and hold(name) closed."""
    platform.hold()
    platform.hold("cards")
    call = asyncio.ensure_future(caller.get(CARDS))
    await platform.until(lambda counters: counters.in_flight == 1)
    platform.release("cards")
    await asyncio.sleep(0)
    assert not call.done()
    platform.release()
    assert (await call).code == 200


@pytest.mark.gen_test
async def test_calls_of_the_gone_do_not_count_as_in_flight(caller, platform):
    """A caller that hangs up frees its place at once, held or not."""
    platform.hold()
    _, writer = await caller.open()
    await platform.until(lambda counters: counters.in_flight == 1)
    writer.close()
    await platform.until(lambda counters: counters.in_flight == 0)
    assert platform.counters.total == 1


@pytest.mark.gen_test
@pytest.mark.parametrize("waits", ["held", "hang"])
async def test_a_caller_who_is_gone_as_its_call_is_read(platform, waits):
    """Its call ends, whether it is held or its answer hangs."""
    url = urlsplit(platform.base_url)
    call = f"GET {url.path}{COURSE_FILES} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with socket.create_connection((url.hostname, url.port)) as connection:
        connection.sendall(call)
        await platform.until(lambda seen: seen.total == 1 and not seen.in_flight)
        for _ in range(9):  # turns in which the server begins to read the next call
            await asyncio.sleep(0)
        if waits == "held":
            platform.hold()
        else:
            platform.faults.set(kind="hang")
        connection.sendall(call)
    await platform.until(lambda seen: seen.total == 2)
    await platform.until(lambda seen: not seen.in_flight)


@pytest.mark.gen_test
async def test_a_caller_who_is_gone_as_its_call_is_released(platform):
    """The platform reads the end in the turn in which the hanging answer begins."""
    url = urlsplit(platform.base_url)
    platform.faults.set(kind="hang")
    platform.hold()
    with socket.create_connection((url.hostname, url.port)) as connection:
        call = f"GET {url.path}{COURSE_FILES} HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.sendall(call.encode())
        await platform.until(lambda seen: seen.in_flight == 1)
    await asyncio.sleep(0)
    platform.release()
    await platform.until(lambda seen: not seen.in_flight)


@pytest.mark.gen_test
async def test_connections_are_counted_not_calls(caller, platform):
    """Each accepted connection counts once; reset() forgets it."""
    for _ in range(3):
        await caller.raw()
    assert platform.counters.connections == 3
    platform.counters.reset()
    assert (platform.counters.connections, platform.counters.total) == (0, 0)


@pytest.mark.gen_test
async def test_what_is_in_flight_stays_counted(caller, platform):
    """reset() forgets the past: the peak is what is in flight now."""
    platform.hold()
    writers = [(await caller.open())[1] for _ in range(3)]
    await platform.until(lambda counters: counters.in_flight == 3)
    writers.pop().close()
    await platform.until(lambda counters: counters.in_flight == 2)
    platform.counters.reset()
    assert platform.counters.peak == 2
    for writer in writers:
        writer.close()


@pytest.mark.gen_test
async def test_control_reads_and_turns(caller, platform):
    """/_control tells counters and knobs, and turns each of them."""
    url = platform.control_url

    async def put(**order):
        body = msgspec.json.encode(order)
        return await caller.http.fetch(url, method="PUT", body=body, raise_error=False)

    await caller.get(CARDS)
    assert json_of(await caller.http.fetch(url))["counters"]["calls"] == {"cards": 1}
    state = json_of(
        await put(
            faults={"*": {"kind": "status", "status": 500}, "cards": {"kind": None}},
            switches={"cf_id": True},
            hold="quizzes",
            reset=True,
        )
    )
    assert state["counters"]["total"] == 0
    assert state["held"] == ["quizzes"]
    assert state["switches"]["cf_id"] is True
    assert (await caller.get(COURSE_FILES)).code == 500
    assert (await caller.get(CARDS)).code == 200
    await put(clear="*", release="*", revoke=caller.token)
    assert (await caller.get(QUIZZES)).code == 401
    wrongs: list[dict[str, Any]] = [{"x": 1}, {"faults": {"x": {}}}]
    wrongs += [{"switches": {"x": 1}}, {"switches": {"shapes": ["x"]}}]
    for wrong in wrongs:
        assert (await put(**wrong)).code == 400
    answer = await caller.http.fetch(url, method="PUT", body="{", raise_error=False)
    assert answer.code == 400


@pytest.mark.gen_test
async def test_control_is_for_loopback(platform):
    """Whoever comes from another address is refused the knobs."""
    platform.app.settings["serve_traceback"] = False
    server = platform.app.listen(0, "127.0.0.1", xheaders=True)
    port = next(iter(server._sockets.values())).getsockname()[1]
    http = AsyncHTTPClient(force_instance=True)
    answer = await http.fetch(
        f"http://127.0.0.1:{port}/_control",
        headers={"X-Real-Ip": "192.0.2.7"},
        raise_error=False,
    )
    http.close()
    server.stop()
    await server.close_all_connections()
    assert answer.code == 403


@pytest.mark.gen_test
async def test_stop_ends_held_calls():
    """A platform stops at once, whatever it is still holding, and may do so twice."""
    platform = SimulatedPlatform()
    url = await platform.start()
    platform.hold()
    http = AsyncHTTPClient(force_instance=True)
    call = http.fetch(url + COURSE_FILES)
    await platform.until(lambda counters: counters.in_flight == 1)
    await platform.stop()
    await platform.stop()
    with pytest.raises(HTTPStreamClosedError):
        await call
    http.close()
