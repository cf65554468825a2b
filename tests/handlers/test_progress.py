"""The making of a page told as events, over real sockets."""

import asyncio
import gc
import json
import socket
import struct

import pytest

from aims_server.handlers import progress
from aims_server.service import all_attendance_page
from tests.waiting import eventually

pytestmark = pytest.mark.gen_test

EVENTS = "text/event-stream"


class Stream:
    """A client that reads events as they come."""

    def __init__(self, front, token, *, lines="", receive_buffer=None):
        self._front = front
        self._token = token
        self._lines = f"Accept: {EVENTS}\r\n{lines}"
        self._receive_buffer = receive_buffer or 2**20

    async def __aenter__(self):
        port = int(self._front.base_url.rpartition(":")[2])
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        client.connect(("127.0.0.1", port))
        self.reader, self.writer = await asyncio.open_connection(
            sock=client, limit=self._receive_buffer
        )
        self.writer.write(
            b"GET /api/all-attendance HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"%bAuthorization: Bearer %b\r\n\r\n"
            % (self._lines.encode(), self._token.encode())
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.status = int(head.split(b" ")[1])
        lines = head.decode().split("\r\n")[1:-2]
        self.headers = dict(line.lower().split(": ", 1) for line in lines)
        return self

    async def __aexit__(self, *exc_details):
        self.writer.close()

    async def chunk(self) -> str:
        """What came in one piece."""
        size = int(await self.reader.readline(), 16)
        piece = await self.reader.readexactly(size + 2)
        return piece[:-2].decode()

    async def events(self):
        """The events, comments left out, until the stream ends."""
        text = ""
        while piece := await self.chunk():
            text += piece
            while "\n\n" in text:
                event, _, text = text.partition("\n\n")
                if event != ":":
                    kind, data = event.split("\n")
                    yield (
                        kind.removeprefix("event: "),
                        json.loads(data.removeprefix("data: ")),
                    )


async def told(front, token) -> list[tuple[str, dict]]:
    """All events of one stream."""
    async with Stream(front, token) as stream:
        assert stream.status == 200
        return [event async for event in stream.events()]


async def test_the_making_of_a_page_is_told(front, token, platform, college, student):
    """Events give the number of subjects, each subject, and then the page."""
    events = await told(front, token)
    kinds = [kind for kind, _ in events]
    page = events[-1][1]
    assert kinds == ["started", *["subject"] * 15, "page"]
    assert events[0][1] == {"subjects": 15}
    subjects = [told for kind, told in events if kind == "subject"]
    assert [each["done"] for each in subjects] == list(range(1, 16))
    assert {each["of"] for each in subjects} == {15}
    assert {each["name"] for each in subjects} == set(page["subjects"])
    plain = await front.ask("/api/all-attendance", token)
    assert json.loads(plain.body) == page


async def test_a_kept_page_is_told_at_once(front, token, platform):
    """The only event is the page."""
    await front.ask("/api/all-attendance", token)
    calls = platform.counters.total
    assert [kind for kind, _ in await told(front, token)] == ["page"]
    assert platform.counters.total == calls


async def test_its_headers_are_those_of_a_stream(front, token):
    """It may not be stored or buffered, and has the headers of every answer."""
    async with Stream(front, token) as stream:
        headers = stream.headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert headers["x-content-type-options"] == "nosniff"
        assert "accept" in headers["vary"]
        assert {"x-request-id", "ratelimit", "ratelimit-policy"} <= set(headers)
        assert [event async for event in stream.events()][-1][0] == "page"


async def test_head_asks_for_no_events(front, token, platform, worker):
    """Its answer ends with the head: what follows on the connection is not held up by a
    page that takes long, and none is gathered.
    """
    platform.faults.set(kind="hang")
    port = int(front.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"HEAD /api/all-attendance HTTP/1.1\r\nHost: x\r\nAccept: {EVENTS}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
        "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"text/event-stream" in head
    assert b"Content-Length" not in head
    assert b"404 Not Found" in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert not any(map(len, worker.kept.flights))
    assert platform.counters.total == 0


async def test_a_client_that_reads_no_chunks_sees_the_end(front, token):
    """The connection's end, though the client would keep it."""
    port = int(front.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET /api/all-attendance HTTP/1.0\r\nHost: x\r\nAccept: {EVENTS}\r\n"
        f"Connection: keep-alive\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    head, _, events = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert b"keep-alive" not in head.lower()
    assert events.rpartition(b"event: ")[2].startswith(b"page\n")
    assert events.endswith(b"}\n\n")


async def test_subjects_are_told_as_they_come(front, token, platform):
    """A subject's event is sent while others are still under way."""
    platform.hold("cards")
    async with Stream(front, token) as stream:
        events = stream.events()
        assert await anext(events) == ("started", {"subjects": 15})
        platform.release()
        assert (await anext(events))[0] == "subject"
        assert [kind async for kind, _ in events][-1] == "page"


async def test_a_comment_is_sent_while_there_is_nothing_to_tell(
    front, token, platform, monkeypatch
):
    """One comes every five seconds, so that no proxy closes the stream as idle."""
    assert progress._COMMENT_SECONDS == 5
    monkeypatch.setattr(progress, "_COMMENT_SECONDS", 0.01)
    platform.hold("course_files")
    async with Stream(front, token) as stream:
        assert [await stream.chunk(), await stream.chunk()] == [":\n\n", ":\n\n"]
        platform.release()


async def test_a_course_file_that_is_listed_twice_is_asked_for_once(
    front, token, platform, student, college
):
    """It stands twice on the page, which is told to its end."""
    first, second = college.courses(student)[:2]
    rows = [
        {"id": cf_id, "student_id": student.id, "cdata": {"course_name": "Web"}}
        for cf_id in (first.cf_id, second.cf_id, first.cf_id)
    ]
    body = json.dumps({"response": {"data": rows}})
    platform.faults.set("course_files", kind="body", body=body)
    (_, begun), *subjects, (kind, page) = await told(front, token)
    assert [event["done"] for _, event in subjects] == [1, 2]
    assert {event["of"] for _, event in subjects} == {begun["subjects"]} == {2}
    assert (kind, len(page["subjects"])) == ("page", 3)
    assert platform.counters.calls["cards"] == 2


async def test_it_joins_the_gathering_under_way(front, token, platform):
    """It gets the earlier events as well, and no call is repeated."""
    platform.hold("cards")
    plain = asyncio.ensure_future(front.ask("/api/all-attendance", token))
    await platform.until(lambda seen: seen.now["cards"] == 15)
    async with Stream(front, token) as stream:
        events = stream.events()
        assert (await anext(events))[0] == "started"
        platform.release()
        assert [kind async for kind, _ in events][-1] == "page"
    assert (await plain).code == 200
    assert platform.counters.total == 16


async def test_each_gathering_is_told(front, token, platform, clock):
    """A client for which the one under way is too old gets its own behind it."""
    platform.faults.set("cards", kind="html", match="7300001")
    await front.ask("/api/all-attendance", token)
    clock.advance(40)
    platform.faults.clear()
    platform.hold("cards")
    plain = asyncio.ensure_future(front.ask("/api/all-attendance", token))
    await platform.until(lambda seen: seen.now["cards"] == 1)
    async with Stream(front, token, lines="Cache-Control: no-cache\r\n") as stream:
        events = stream.events()
        assert await anext(events) == ("started", {"subjects": 15})
        platform.release()
        kinds = [kind async for kind, _ in events]
    await plain
    subjects = ["subject"] * 15
    assert kinds == [*subjects, "started", *subjects, "page"]


async def test_leaving_ends_nothing(front, token, platform):
    """The page is gathered for who comes next."""
    platform.hold("cards")
    async with Stream(front, token) as stream:
        assert (await anext(stream.events()))[0] == "started"
    await asyncio.sleep(0.1)
    platform.release()
    assert (await front.ask("/api/all-attendance", token)).code == 200
    assert platform.counters.total == 16


async def test_leaving_is_no_fault(front, token, platform, access_lines, http_server):
    """A client that leaves a stream is one log line with status 499."""
    platform.faults.set("cards", kind="hang", match="7300001")  # so that it goes on
    platform.hold("cards")
    async with Stream(front, token) as stream:
        assert (await anext(stream.events()))[0] == "started"
        set_linger = stream.writer.get_extra_info("socket").setsockopt
        set_linger(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await eventually(lambda: not http_server.connections)
    platform.release()
    await eventually(lambda: "all-attendance" in access_lines.getvalue())
    (line,) = access_lines.told()
    assert (line["level"], line["status"]) == ("info", 499)


async def test_leaving_while_it_is_written_to_ends_the_stream(
    front, token, student, platform, worker, access_lines, request
):
    """The handler waits for the client to read more. When the client leaves instead,
    the request ends with its line in the log.
    """
    listening, _ = request.getfixturevalue("_unused_port")  # of `http_server`
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024)
    rows = [  # 200 kB of events, more than the transport and both sockets hold
        {"id": cf_id, "student_id": student.id, "cdata": {"course_name": "🦉" * 4096}}
        for cf_id in range(1, 14)
    ]
    body = json.dumps({"response": {"data": rows}})
    platform.faults.set("course_files", kind="body", body=body)
    async with Stream(front, token, receive_buffer=1024) as stream:
        await platform.until(lambda seen: seen.calls["cards"] == len(rows))
        await eventually(lambda: not any(map(len, worker.kept.flights)))
        set_linger = stream.writer.get_extra_info("socket").setsockopt
        set_linger(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await eventually(lambda: "all-attendance" in access_lines.getvalue())


async def test_a_failure_is_an_event(front, token, platform):
    """The event has the body that the page's own request would have had."""
    platform.faults.set("course_files", kind="html")
    ((kind, body),) = await told(front, token)
    assert kind == "error"
    assert body["code"] == "upstream_error"
    assert set(body) == {"error", "message", "code", "requestId", "timestamp"}


async def test_nothing_is_left_of_a_stream_that_fails(front, platform):
    """Of refused ones and of failed ones: without the collector's help, once the
    failure is forgotten that equal requests share for a second.
    """

    def held():
        kept = map(type, gc.get_objects())
        return sum(issubclass(each, progress.ProgressHandler) for each in kept)

    gc.collect()
    gc.disable()
    try:
        before = held()
        for kind in (None, "html"):
            platform.faults.set("course_files", kind=kind)
            for number in range(5):
                ((event, _),) = await told(front, f"made.up.{number}.{kind}")
                assert event == "error"
        await eventually(lambda: held() <= before)
    finally:
        gc.enable()


async def test_a_fault_of_ours_is_an_event(front, token, monkeypatch, caplog):
    """The event is the contract's 500; the log has the traceback."""
    made_up = KeyError("made up")

    def broken(*_: object, **__: object) -> None:
        raise made_up

    monkeypatch.setattr(all_attendance_page, "all_attendance_page", broken)
    kind, body = (await told(front, token))[-1]
    assert (kind, body["code"]) == ("error", "internal_error")
    assert "made up" not in body["message"]
    assert made_up in [line.exc_info[1] for line in caplog.records if line.exc_info]


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (EVENTS, EVENTS),
        (f"{EVENTS}, application/json;q=0.5", EVENTS),
        (f"application/json, {EVENTS};q=0.5", "application/json"),
        ("*/*", "application/json"),
        (f"{EVENTS};q=0", "application/json"),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
async def test_only_who_prefers_events_gets_them(front, token, accept, media, kept):
    """A kept page comes as events too, if the client prefers them."""
    if kept:
        await front.ask("/api/all-attendance", token)
    answer = await front.ask("/api/all-attendance", token, headers={"Accept": accept})
    assert answer.code == 200
    assert answer.headers["Content-Type"].partition(";")[0] == media


async def test_without_a_token_there_is_no_stream(front, platform):
    """A refusal is a refusal."""
    answer = await front.ask("/api/all-attendance", headers={"Accept": EVENTS})
    assert answer.code == 401
    assert json.loads(answer.body)["code"] == "unauthorized"


async def test_its_log_line_says_how_it_ended(front, token, platform, access_lines):
    """The access line of a stream has the fields of any other request."""
    await told(front, token)
    platform.faults.set("course_files", kind="html")
    await told(front, platform.college.token(platform.college.student(7)))
    lines = access_lines.told()
    well, ill = (line for line in lines if "route" in line)
    assert (well["status"], well["cache"]) == (200, "MISS")
    assert (ill["status"], ill["code"]) == (200, "upstream_error")


@pytest.mark.settings(REQUEST_TIMEOUT_SECONDS="2")
async def test_at_the_deadline_there_is_what_there_is(front, token, platform):
    """The page as it stands, and gathering goes on."""
    platform.hold("cards")
    events = await told(front, token)
    assert [kind for kind, _ in events] == ["started", "page"]
    assert len(events[-1][1]["incomplete"]) == 15
    platform.release()
