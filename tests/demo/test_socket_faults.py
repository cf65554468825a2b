import asyncio
import gzip
import re
import socket
import zlib
from contextlib import suppress
from typing import get_args

import msgspec
import pytest
from tornado.iostream import IOStream, StreamClosedError

from aims_server.demo.backend import Reply
from aims_server.demo.faults import Fault, Kind
from aims_server.demo.socket_faults import bomb, break_answer
from aims_server.demo.wrong_answers import wrong_answer

from ..waiting import PATIENCE_SECONDS
from .conftest import COURSE_FILES, json_of

EMBED = COURSE_FILES + "?embed_attendance_summary=1"
SOUND = Reply(200, b'{"msg":"","response":{"data":[{"id":1,"student_id":5900001}]}}')


def spoilt(kind, **knobs):
    """The sound answer as a fault leaves it."""
    reply = wrong_answer(SOUND, Fault(kind=kind, **knobs), "http://localhost/")
    assert reply is not None
    return reply


async def part_of(reader, enough=2000):
    """Read until something has come, and no more for the moment."""
    return await asyncio.wait_for(reader.read(enough), PATIENCE_SECONDS)


@pytest.mark.parametrize("kind", ["broken_json", "truncated_json", "empty_body"])
def test_broken_bodies_are_no_json(kind):
    """Broken, cut and missing bodies do not parse."""
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(spoilt(kind).body)


def test_bad_utf8_is_no_text():
    """The spoilt body is JSON in every respect but its encoding."""
    with pytest.raises(UnicodeDecodeError):
        spoilt("bad_utf8").body.decode()


def test_nan_replaces_a_number():
    """A number of the body becomes the NaN that JSON does not have."""
    assert spoilt("nan").body == SOUND.body.replace(b":1", b":NaN")


def test_wrong_types_differ_from_body_to_body():
    """Several wrong shapes occur, each body always gets the same one."""
    shapes = set()
    for number in range(50):
        reply = Reply(200, b"%d" % number)
        wrong = wrong_answer(reply, Fault(kind="wrong_types"), "")
        assert wrong == wrong_answer(reply, Fault(kind="wrong_types"), "")
        assert wrong is not None
        shapes.add(msgspec.json.encode(msgspec.json.decode(wrong.body)))
    assert len(shapes) > 4


def test_large_bodies_are_sound():
    """A large answer is JSON still, with so many blanks before it."""
    body = spoilt("large", megabytes=1).body
    assert len(body) == 1_000_000 + len(SOUND.body)
    assert msgspec.json.decode(body) == msgspec.json.decode(SOUND.body)


def test_two_students_are_told():
    """The first row's student becomes another one."""
    rows = msgspec.json.decode(spoilt("two_students").body)["response"]["data"]
    assert rows[0]["student_id"] == 8900001


@pytest.mark.parametrize(
    ("knobs", "status", "headers"),
    [
        ({"kind": "status"}, 503, ()),
        ({"kind": "status", "status": 418}, 418, ()),
        (
            {"kind": "status", "status": 503, "retry_after": "7"},
            503,
            (("Retry-After", "7"),),
        ),
        ({"kind": "rate_limited"}, 429, (("Retry-After", "1"),)),
        ({"kind": "redirect"}, 302, (("Location", "http://localhost/"),)),
        (
            {"kind": "redirect", "status": 307, "location": "/x"},
            307,
            (("Location", "/x"),),
        ),
        ({"kind": "empty"}, 200, ()),
        ({"kind": "empty", "status": 500}, 500, ()),
    ],
)
def test_statuses_and_headers(knobs, status, headers):
    """Each fault has its status and headers, which its knobs change."""
    reply = spoilt(**knobs)
    assert (reply.status, reply.headers) == (status, headers)


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.gen_test
async def test_every_kind_ends_when_its_caller_leaves(caller, platform, kind):
    """No fault outlives its caller, fails the platform, or hurts the next call."""
    platform.faults.set(kind=kind, megabytes=3, count=1)
    reader, writer = await caller.open()
    await platform.until(lambda counters: counters.total == 1)
    with suppress(TimeoutError, ConnectionResetError):
        await asyncio.wait_for(reader.read(100), 0.05)
    writer.close()
    await platform.until(lambda counters: counters.in_flight == 0)
    assert await caller.rows(COURSE_FILES)


@pytest.mark.gen_test
async def test_followed_redirects_are_seen(caller, platform):
    """A redirect leads to another name of the platform, which counts who comes."""
    platform.faults.set(kind="redirect")
    answer = await caller.get(COURSE_FILES)
    assert answer.code == 302
    await caller.http.fetch(answer.headers["Location"])
    assert platform.counters.calls["elsewhere"] == 1


@pytest.mark.gen_test
async def test_reset_is_a_reset(caller, platform):
    """The kernel reports a reset, not an end."""
    platform.faults.set(kind="reset")
    with pytest.raises(ConnectionResetError):
        await caller.raw()
    platform.faults.set(kind="reset_midway")
    reader, writer = await caller.open()
    assert (await part_of(reader)).startswith(b"HTTP/1.1 200 OK")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
    writer.close()


@pytest.mark.gen_test
async def test_nobody_is_left_to_reset():
    """A caller may be gone by the time of the reset, as of any other fault."""
    ours, theirs = socket.socketpair()
    stream = IOStream(ours)
    stream.close()
    theirs.close()
    with pytest.raises(StreamClosedError):
        await break_answer(stream, SOUND, Fault(kind="reset"))


@pytest.mark.gen_test
async def test_close_before_answer_is_an_end(caller, platform):
    """The connection ends without a byte."""
    platform.faults.set(kind="close_before_answer")
    assert await caller.raw() == b""


@pytest.mark.parametrize(
    ("kind", "stray"),
    [
        ("answer_twice", b"HTTP/1.1 200 OK"),
        ("stray_408", b"HTTP/1.1 408 Request Timeout"),
        ("stray_crlf", b"\r\n"),
        ("stray_garbage", b"\x16\x03garbage"),
    ],
)
@pytest.mark.gen_test
async def test_something_follows_an_answer(caller, platform, kind, stray):
    """The answer is sound, and the connection is open when more comes unasked."""
    platform.faults.set(kind=kind, interval=0.01)
    reader, writer = await caller.open(keep_alive=True)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length
    await reader.readexactly(int(length[1]))
    assert await reader.readexactly(len(stray)) == stray
    writer.close()


@pytest.mark.gen_test
async def test_hang_says_nothing(caller, platform):
    """A hanging call is in flight and silent; half-way, it falls silent."""
    platform.faults.set(kind="hang")
    reader, writer = await caller.open()
    await platform.until(lambda counters: counters.in_flight == 1)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
    writer.close()
    platform.faults.set(kind="hang_midway")
    reader, writer = await caller.open()
    assert await part_of(reader)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(reader.read(), 0.1)
    writer.close()


@pytest.mark.gen_test
async def test_trickle_sends_byte_by_byte(caller, platform):
    """The answer comes whole, one byte at a time."""
    platform.faults.set(kind="trickle", interval=0.02)
    reader, writer = await caller.open()
    assert [await reader.read(100) for _ in range(6)] == [
        b"H",
        b"T",
        b"T",
        b"P",
        b"/",
        b"1",
    ]
    writer.close()


@pytest.mark.gen_test
async def test_short_body_breaks_its_promise(caller, platform):
    """Content-Length promises a thousand bytes more than come."""
    platform.faults.set(kind="short_body")
    head, _, body = (await caller.raw()).partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % (len(body) + 1000) in head


@pytest.mark.gen_test
async def test_headers_go_wrong(caller, platform):
    """Headers are unreadable, or two megabytes of them come."""
    platform.faults.set(kind="bad_header")
    assert b"No colon in this line\r\n: no name\r\n" in await caller.raw()
    platform.faults.set(kind="huge_headers")
    assert (await caller.raw()).index(b"\r\n\r\n") > 2_000_000


@pytest.mark.gen_test
async def test_endless_never_ends(caller, platform):
    """Ten megabytes come in sound chunks, and there are more."""
    platform.faults.set(kind="endless")
    reader, writer = await caller.open()
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(150):
        assert await reader.readexactly(7) == b"10000\r\n"
        await reader.readexactly(65_536 + 2)
    writer.close()


@pytest.mark.gen_test
async def test_bad_chunk_is_no_number(caller, platform):
    """The size of the first chunk is not one."""
    platform.faults.set(kind="bad_chunk")
    assert (await caller.raw()).partition(b"\r\n\r\n")[2].startswith(b"zz\r\n")


def test_bomb_is_sound_gzip():
    """It unpacks to blanks and the sound answer, and is a thousandth of that size."""
    packed = b"".join(bomb(5, SOUND.body))
    assert len(packed) < 10_000
    assert gzip.decompress(packed) == b" " * 5_000_000 + SOUND.body


@pytest.mark.gen_test
async def test_gzip_answers(caller, platform):
    """The bomb comes as a sound answer, bad gzip as one that does not unpack."""
    platform.faults.set(kind="gzip_bomb", megabytes=2)
    answer = await caller.get(EMBED)
    assert len(answer.body) > 2_000_000
    assert json_of(answer)["response"]["data"]
    platform.faults.set(kind="bad_gzip")
    head, _, body = (await caller.raw()).partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head
    with pytest.raises(zlib.error):
        zlib.decompressobj(31).decompress(body)


@pytest.mark.gen_test
async def test_delay_is_waited(caller, platform):
    """A delayed answer is in flight meanwhile and takes that long."""
    platform.faults.set("cards", delay=0.15)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await caller.rows("/cards")
    assert loop.time() - before > 0.14


@pytest.mark.gen_test
async def test_stop_closes_misbehaving_connections(platform, caller):
    """Streams taken from the server are closed with it."""
    platform.faults.set(kind="hang")
    reader, writer = await caller.open()
    await platform.until(lambda counters: counters.in_flight == 1)
    await asyncio.sleep(0.01)
    await platform.stop()
    assert await reader.read() == b""
    writer.close()
    assert writer.get_extra_info("socket").family == socket.AF_INET
