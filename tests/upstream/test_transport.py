"""One call over curl, against real sockets: what comes back, and what comes of a far
side that breaks every rule.
"""

import asyncio
import contextlib
import gzip
import logging
import os
import re
import socket
import ssl
import warnings
from pathlib import Path

import pytest
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.netutil import bind_sockets

from aims_server.demo.college import College
from aims_server.demo.platform import SimulatedPlatform
from aims_server.errors import (
    FailureCause,
    UpstreamDropped,
    UpstreamError,
    UpstreamTimeout,
)
from aims_server.upstream.certificates import SYSTEM_BUNDLES, TrustedAuthorities
from aims_server.upstream.transport import MAX_BODY_BYTES, Transport

pytestmark = pytest.mark.gen_test

COURSE_FILES = "/custom/getCFMappedWithStudentID?embed_attendance_summary=1"
CERTIFICATE = Path(__file__).parent / "tls" / "self_signed.pem"
CANARY = "canary-0123456789"
BEARER = {"Authorization": f"Bearer {CANARY}"}


class RawServer:
    """A far side that says some bytes, whatever it is asked, and hangs up."""

    def __init__(self):
        self.says = b""
        self.heard = b""
        self.hung_up = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self):
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"

    async def stop(self):
        """Close the port."""
        assert self._server
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            self.heard += await reader.read(65536)
            writer.write(self.says)
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.hung_up.set()


@pytest.fixture(name="transport")
def _transport(io_loop):
    async def make():
        return Transport(20, "aims_server/test")

    transport = io_loop.run_sync(make)
    yield transport
    transport.close()


@pytest.fixture(name="raw")
def _raw(io_loop, transport):
    server = RawServer()
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


@pytest.fixture(name="platform")
def _platform(io_loop):
    platform = SimulatedPlatform(College(students=5))
    io_loop.run_sync(platform.start)
    yield platform
    io_loop.run_sync(platform.stop)


@pytest.fixture(name="ask")
def _ask(transport, platform):
    """One GET of student 0's course files."""
    token = platform.college.token(platform.college.student(0))

    async def ask(seconds=5.0, path=COURSE_FILES):
        return await transport.fetch(
            "GET",
            platform.base_url + path,
            headers={"Authorization": f"Bearer {token}"},
            seconds=seconds,
        )

    return ask


@pytest.fixture(name="log_in")
def _log_in(transport, platform):
    """One login with a wrong password."""

    async def log_in():
        return await transport.fetch(
            "POST",
            platform.base_url + "/admin/authenticate",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=b"username=a&password=b",
            seconds=5.0,
        )

    return log_in


@pytest.fixture(name="get")
def _get(transport, raw):
    """What becomes of one GET when the far side says these bytes."""

    async def get(says: bytes, seconds=5.0):
        raw.says = says
        return await transport.fetch("GET", raw.url, headers={}, seconds=seconds)

    return get


def answer(body: bytes, *headers: str, status="200 OK") -> bytes:
    """A sound answer of HTTP/1.1."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


# What is sent, what comes back.


async def test_a_reply_is_status_body_and_retry_after(get):
    """Nothing else of the platform's answer goes any further."""
    reply = await get(answer(b"{}", "Retry-After: 5", status="503 Busy"))
    assert (reply.status, reply.body, reply.retry_after) == (503, b"{}", 5.0)
    reply = await get(answer(b""))
    assert (reply.status, reply.body, reply.retry_after) == (200, b"", None)


async def test_a_request_says_who_asks_and_no_more(get, raw):
    """Our name; none of curl's own extras."""
    await get(answer(b""))
    lines = raw.heard.decode().lower().split("\r\n")
    assert "user-agent: aims_server/test" in lines
    names = {line.split(":")[0] for line in lines[1:] if line}
    assert names == {"host", "user-agent", "accept", "accept-encoding"}


async def test_a_post_is_sent_whole(transport, raw):
    """Body, length, and the headers given."""
    raw.says = answer(b"")
    await transport.fetch(
        "POST", raw.url, headers={"X-Own": "1"}, body=b"a=b", seconds=5.0
    )
    head, _, body = raw.heard.partition(b"\r\n\r\n")
    assert body == b"a=b"
    assert b"Content-Length: 3" in head
    assert b"X-Own: 1" in head
    assert b"Expect" not in head


async def test_no_cookie_is_kept(get, raw):
    """What the platform sets for one student must not be sent for the next."""
    await get(answer(b"", "Set-Cookie: session=abc; Path=/"))
    await get(answer(b""))
    assert b"session" not in raw.heard


async def test_a_packed_answer_is_unpacked(ask, platform):
    """gzip on the way changes nothing."""
    plain = await ask()
    platform.switch(gzip=True)
    assert (await ask()).body == plain.body


async def test_four_thousand_records_arrive(transport, io_loop):
    """The largest answer that a platform of this kind was thought to give."""
    college = College(students=1, records_per_subject=4000)
    platform = SimulatedPlatform(college)
    await platform.start()
    student = college.student(0)
    cf_id = college.courses(student)[0].cf_id
    reply = await transport.fetch(
        "GET",
        f"{platform.base_url}/cards?type=Attendance&equalto___fk_student={student.id}"
        f"&equalto___cf_id={cf_id}",
        headers={"Authorization": f"Bearer {college.token(student)}"},
        seconds=5.0,
    )
    await platform.stop()
    assert reply.status == 200
    assert reply.body.count(b'"start_time"') == 4000


# Connections.


async def test_a_connection_is_kept(ask, platform):
    """Twenty calls one after the other need one."""
    for _ in range(20):
        await ask()
    assert platform.counters.connections == 1


async def test_calls_side_by_side_do_not_wait_for_each_other(ask, platform):
    """Fifteen are on their way at once, and their connections serve the next ones."""
    for _ in range(2):
        platform.hold()
        calls = [asyncio.create_task(ask()) for _ in range(15)]
        async with asyncio.timeout(5):
            await platform.until(lambda counters: counters.in_flight == 15)
        platform.release()
        await asyncio.gather(*calls)
    assert platform.counters.connections <= 15


async def test_more_calls_than_handles_wait(platform, io_loop):
    """Curl's own line is endless and knows no deadline: slots must stand before it."""
    transport = Transport(2, "test")
    url = platform.base_url + COURSE_FILES
    calls = [transport.fetch("GET", url, headers={}, seconds=5.0) for _ in range(10)]
    replies = await asyncio.gather(*calls)
    transport.close()
    assert [reply.status for reply in replies] == [401] * 10
    assert platform.counters.peak <= 2


@pytest.mark.parametrize("kind", ["reset", "close_before_answer"])
async def test_a_post_is_never_made_twice(log_in, platform, ask, kind):
    """On a kept connection that breaks, curl would make the call again by itself: a
    login would be counted twice against its student.
    """
    await ask()
    platform.faults.set("authenticate", kind=kind)
    with pytest.raises(UpstreamDropped):
        await log_in()
    assert platform.counters.calls["authenticate"] == 1


async def test_the_connection_of_a_login_serves_the_calls_after_it(
    log_in, platform, ask
):
    """It is a new one, and kept like any other."""
    await log_in()
    await ask()
    assert platform.counters.connections == 1


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", b"x")])
async def test_a_connection_closed_while_idle_costs_no_call(
    transport, get, raw, method, body
):
    """The far side may close what is kept at any moment between two calls."""
    await get(answer(b""))
    await raw.hung_up.wait()
    raw.says = answer(b"{}")
    reply = await transport.fetch(method, raw.url, headers={}, body=body, seconds=5.0)
    assert reply.body == b"{}"


async def test_a_call_its_asker_left_goes_on_and_harms_nobody(ask, platform):
    """The pool serves the next ones, each with its own answer."""
    platform.hold()
    calls = [asyncio.create_task(ask()) for _ in range(10)]
    async with asyncio.timeout(5):
        await platform.until(lambda counters: counters.in_flight == 10)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    platform.release()
    replies = await asyncio.gather(*(ask() for _ in range(20)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1


async def test_a_pool_does_not_cross_a_fork(transport):
    """A curl handle used by two processes hands one the other's answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking at all
        child = os.fork()
    if child == 0:
        fetch = transport.fetch("GET", "http://127.0.0.1:1/", headers={}, seconds=1.0)
        try:
            fetch.send(None)
        except RuntimeError as refusal:
            os._exit(7 if "fork" in str(refusal) else 1)
        finally:
            os._exit(2)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


# Time.


@pytest.mark.parametrize("kind", ["hang", "hang_midway", "trickle"])
async def test_a_call_ends_in_its_time(ask, platform, kind):
    """Whether nothing comes, half of it, or a byte each second, for hours."""
    platform.faults.set("course_files", kind=kind)
    with pytest.raises(UpstreamTimeout):
        await ask(seconds=0.2)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.0001])
async def test_no_time_is_not_endless_time(ask, platform, seconds):
    """Curl reads 0 as "no limit"."""
    platform.hold()
    with pytest.raises(UpstreamTimeout):
        await ask(seconds=seconds)


async def test_connecting_counts_too(transport):
    """A far side that never accepts is given up in the call's own time."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            with pytest.raises((UpstreamTimeout, UpstreamDropped)):
                await transport.fetch(
                    "GET", f"http://127.0.0.1:{address[1]}/", headers={}, seconds=0.3
                )


# Failures.


@pytest.mark.parametrize("kind", ["reset", "reset_midway", "short_body", "bad_chunk"])
async def test_a_broken_connection_is_one_that_dropped(ask, platform, kind):
    """Worth another try."""
    platform.faults.set("course_files", kind=kind)
    with pytest.raises(UpstreamDropped):
        await ask()


async def test_nobody_there_is_a_dropped_connection(transport):
    """A closed port answers at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with pytest.raises(UpstreamDropped):
        await transport.fetch("GET", url, headers={}, seconds=5.0)


@pytest.mark.parametrize(
    "says",
    [
        b"",
        b"hello\r\n\r\n",
        b"<html></html>",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nNo colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Zero: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: no name\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX y: z\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\x7f: z\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\xff: z\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: first\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
        b"bad trailer\x01\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: x\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip, gzip, gzip, gzip, gzip, gzip"
        b"\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/3.0 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nx",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"\x16\x03\x01\x00\x05hello",
        b"\xff" * 1000,
        b"\n" * 1000,
        b"HTTP/1.1 200 OK\r\nX: " + b"h" * 400_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: h\r\n" * 100_000 + b"\r\n",
    ],
    ids=lambda says: repr(says[:60]),
)
async def test_what_is_no_http_is_one_of_our_errors(get, capfd, caplog, says):
    """Without a word on stderr: a fault inside curl's callbacks would be printed there,
    past any logging.
    """
    with contextlib.suppress(UpstreamError):
        reply = await get(says, seconds=1.0)
        assert len(reply.body) < 1000  # what can be read as HTTP may be
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@pytest.mark.parametrize(
    "header", [b"No colon here", b"X-Zero: a\0b", b": no name", b"X y: z", b"X\x7f: z"]
)
async def test_a_malformed_header_is_an_unusable_answer(get, header):
    """Not a dropped connection: it would be as malformed at the next try."""
    head = b"HTTP/1.1 200 OK\r\n" + header + b"\r\nContent-Length: 2\r\n\r\n{}"
    with pytest.raises(UpstreamError) as caught:
        await get(head)
    assert caught.type is UpstreamError


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(ask, platform, status):
    """The token goes to the platform and to nobody that the platform names."""
    platform.faults.set("course_files", kind="redirect", status=status)
    reply = await ask()
    assert reply.status == status
    assert platform.counters.connections == 1
    assert platform.counters.total == 1


@pytest.mark.parametrize("place", ["file:///etc/passwd", "http://169.254.169.254/"])
async def test_no_redirect_leads_out_of_http_or_inwards(get, place):
    """Nor to files and neighbours."""
    reply = await get(answer(b"", f"Location: {place}", status="302 Found"))
    assert (reply.status, reply.body) == (302, b"")


async def test_only_http_is_spoken(transport):
    """Whatever address it is given."""
    with pytest.raises(UpstreamError):
        await transport.fetch("GET", "file:///etc/passwd", headers={}, seconds=1.0)


# Size.


async def test_a_body_may_have_eight_megabytes_and_no_more(get):
    """The bound is exact."""
    reply = await get(answer(b"x" * MAX_BODY_BYTES))
    assert len(reply.body) == MAX_BODY_BYTES
    with pytest.raises(UpstreamError) as caught:
        await get(answer(b"x" * (MAX_BODY_BYTES + 1)))
    assert caught.type is UpstreamError


class Memory:
    """This process's own, in megabytes, as the kernel counts it."""

    def __init__(self):
        # 5: forget the peak so far (proc_pid_clear_refs(5)).
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before = self._read("VmRSS")

    @property
    def growth(self) -> float:
        """What is held more than at the beginning."""
        return self._read("VmRSS") - self._before

    @property
    def peak_growth(self) -> float:
        """What was held more at the worst moment since."""
        return self._read("VmHWM") - self._before

    def _read(self, field: str) -> float:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith(field))
        return int(line.split()[1]) / 1024


@pytest.mark.parametrize("kind", ["gzip_bomb", "endless", "huge_headers"])
async def test_a_hostile_body_costs_little_memory(ask, platform, kind):
    """300 MB out of 300 KB, a body without end, 2 MB of headers: refused in little
    time, and the memory is back where it was (docs/reliability.rst P31).
    """
    platform.faults.set("course_files", kind=kind, megabytes=300)
    with pytest.raises(UpstreamError):
        await ask()  # the first makes what is made only once
    memory = Memory()
    for _ in range(4):
        with pytest.raises(UpstreamError):
            await ask()
    assert memory.peak_growth < 20
    assert memory.growth < 10


# Packed answers.


def kind_of(error: UpstreamError) -> str:
    """Its cause in a word."""
    return error.cause.kind if error.cause else ""


def packed(body: bytes) -> bytes:
    """An answer whose body is this, said to be gzip."""
    return answer(body, "Content-Encoding: gzip")


async def test_a_packed_answer_may_have_several_members(get):
    """RFC 1952 allows it; both are the body."""
    reply = await get(packed(gzip.compress(b'{"a":') + gzip.compress(b"1}")))
    assert reply.body == b'{"a":1}'


async def test_an_empty_body_may_be_called_packed(get):
    """Servers do so with a 401 or a 204."""
    assert (await get(packed(b""))).body == b""


BADLY_PACKED = {
    "its last byte is missing": gzip.compress(b'{"a":1}')[:-1],
    "its check is missing": gzip.compress(b'{"a":1}')[:-8],
    "the end of a long one is missing": gzip.compress(b'{"a":1}' * 1000)[:-20],
    "half a header": gzip.compress(b'{"a":1}')[:5],
    "text behind it": gzip.compress(b'{"a":1}') + b"{}",
    "zeros behind it": gzip.compress(b'{"a":1}') + bytes(8),
    "half a member behind it": gzip.compress(b'{"a":1}')
    + gzip.compress(b'{"b":2}')[:-3],
    "not packed": b'{"a":1}',
}


@pytest.mark.parametrize("body", BADLY_PACKED.values(), ids=BADLY_PACKED)
async def test_a_badly_packed_answer_is_none(get, body):
    """No part of it is taken for the whole, though its length is the promised one."""
    with pytest.raises(UpstreamError) as caught:
        await get(packed(body))
    assert caught.type is UpstreamError
    assert kind_of(caught.value) == "bad_gzip"


async def test_packed_twice_is_unknown(get):
    """Two codings, in one line or in two, are nothing that was asked for."""
    twice = gzip.compress(gzip.compress(b"{}"))
    for lines in (
        ["Content-Encoding: gzip, gzip"],
        ["Content-Encoding: gzip"] * 2,
        ["Content-Encoding: br"],
    ):
        with pytest.raises(UpstreamError) as caught:
            await get(answer(twice, *lines))
        assert kind_of(caught.value) == "unknown_encoding"


async def test_no_coding_by_any_name_is_none(get):
    """An empty list, and "identity", beside another one too, change nothing."""
    for line in ("Content-Encoding: ", "Content-Encoding: identity"):
        assert (await get(answer(b"{}", line))).body == b"{}"
    packed_once = answer(gzip.compress(b"{}"), "Content-Encoding: identity, gzip")
    assert (await get(packed_once)).body == b"{}"


# Ways to the platform.


async def test_the_environment_names_no_proxy(get, monkeypatch):
    """Whoever has set it meant other programs."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await get(answer(b"{}"))).body == b"{}"


async def test_a_proxy_is_used_when_it_is_set(io_loop, raw, monkeypatch):
    """For every host, whatever no_proxy says."""
    monkeypatch.setenv("no_proxy", "*")
    raw.says = answer(b"{}")
    transport = Transport(1, "test", proxy=raw.url)
    url = "http://platform.invalid/path"
    reply = await transport.fetch("GET", url, headers={}, seconds=5.0)
    transport.close()
    assert reply.body == b"{}"
    assert raw.heard.startswith(b"GET http://platform.invalid/path HTTP/1.1\r\n")


async def test_a_proxy_hears_no_token_on_the_way_to_tls(raw):
    """It is asked for a tunnel, and what the tunnel carries is encrypted."""
    raw.says = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    transport = Transport(1, "test", proxy=raw.url)
    with pytest.raises(UpstreamDropped) as caught:
        await transport.fetch(
            "GET", "https://platform.invalid/", headers=BEARER, seconds=5.0
        )
    transport.close()
    assert caught.value.cause == FailureCause("proxy", "it answered 403")
    assert raw.heard.startswith(b"CONNECT platform.invalid:443 HTTP/1.1\r\n")
    assert CANARY.encode() not in raw.heard


# TLS.


@pytest.fixture(name="secure_url")
def _secure_url(io_loop):
    """A far side whose certificate is its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    heard: list[HTTPServerRequest] = []

    def hear(request: HTTPServerRequest) -> None:
        heard.append(request)
        start = ResponseStartLine("HTTP/1.1", 200, "OK")
        headers = HTTPHeaders({"Content-Length": "2"})
        assert request.connection
        request.connection.write_headers(start, headers, b"{}")
        request.connection.finish()

    async def start() -> HTTPServer:
        server = HTTPServer(hear, ssl_options=context)
        server.add_sockets(bind_sockets(0, "127.0.0.1"))
        return server

    server = io_loop.run_sync(start)
    port = next(iter(server._sockets.values())).getsockname()[1]
    yield f"https://127.0.0.1:{port}/"
    server.stop()
    io_loop.run_sync(server.close_all_connections)
    assert all(request.path == "/trusted" for request in heard)


async def test_a_certificate_that_nobody_vouches_for_is_refused(transport, secure_url):
    """Names match, the signature is its own: no call is made, no token is sent; and the
    cause tells which rule was broken.
    """
    with pytest.raises(UpstreamDropped) as caught:
        await transport.fetch("GET", secure_url, headers={}, seconds=5.0)
    assert kind_of(caught.value) == "certificate"
    assert "self-signed certificate" in str(caught.value.cause)


async def test_further_authorities_can_be_trusted(secure_url):
    """From one file, beside the system's; and still for the right name only."""
    transport = Transport(2, "test", ca_file=str(CERTIFICATE))
    for _ in range(3):
        reply = await transport.fetch(
            "GET", f"{secure_url}trusted", headers={}, seconds=5.0
        )
        assert reply.body == b"{}"
    other_name = secure_url.replace("127.0.0.1", "[::ffff:127.0.0.1]")
    with pytest.raises(UpstreamDropped):
        await transport.fetch("GET", other_name, headers={}, seconds=5.0)
    transport.close()


def test_the_systems_authorities_stay():
    """One file in memory has both."""
    authorities = TrustedAuthorities(str(CERTIFICATE))
    bundle = Path(authorities.path).read_bytes()
    authorities.close()
    assert CERTIFICATE.read_bytes() in bundle
    system = [path for path in map(Path, SYSTEM_BUNDLES) if path.exists()]
    assert all(path.read_bytes() in bundle for path in system[:1])


# Causes.


async def cause(transport, url: str, seconds=0.3) -> FailureCause:
    """Why a call fails."""
    with pytest.raises(UpstreamError) as caught:
        await transport.fetch("GET", url, headers=BEARER, seconds=seconds)
    assert caught.value.cause
    assert CANARY not in repr(caught.value.cause)
    return caught.value.cause


async def test_a_name_that_is_not_found(transport):
    """The domain "invalid" has none (RFC 6761)."""
    found = await cause(transport, "http://platform.invalid/", seconds=5.0)
    assert found.kind in ("name_not_found", "timeout_name")


async def test_a_connection_that_is_refused(transport):
    """Nobody listens there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    found = await cause(transport, url)
    assert found == FailureCause("refused", "Connection refused")


async def test_a_connection_that_nobody_accepts(transport):
    """The line of those that wait for it is full."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            found = await cause(transport, f"http://127.0.0.1:{address[1]}/")
    assert found.kind == "timeout_connect"


async def test_a_far_side_that_speaks_no_tls(transport, raw):
    """It takes the connection and says nothing, or something else."""
    raw.says = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    url = raw.url.replace("http:", "https:")
    assert (await cause(transport, url)).kind == "tls"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        assert (await cause(transport, url)).kind == "timeout_tls"


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("hang", "timeout_first_byte"),
        ("hang_midway", "timeout_in_body"),
        ("reset", "dropped_before_answer"),
        ("close_before_answer", "dropped_before_answer"),
        ("reset_midway", "dropped_in_body"),
        ("short_body", "dropped_in_body"),
        ("bad_header", "not_http"),
        ("bad_gzip", "bad_gzip"),
        ("gzip_bomb", "too_large"),
    ],
)
async def test_an_answer_that_does_not_come_whole(transport, platform, kind, found):
    """How far it came is told."""
    platform.faults.set(kind=kind)
    url = f"{platform.base_url}{COURSE_FILES}"
    assert (await cause(transport, url)).kind == found


async def test_what_is_no_http_is_told(transport, raw):
    """A firewall's greeting, say."""
    raw.says = b"SSH-2.0-OpenSSH\r\n\r\n"
    assert (await cause(transport, raw.url)).kind == "not_http"


async def test_debug_tells_the_time_of_each_step(get, raw, caplog):
    """And nothing else of the call."""
    caplog.set_level(logging.DEBUG)
    await get(answer(b"{}"))
    (record,) = caplog.records
    pattern = (
        r"Call 200: new connection, ms: name=[\d.]+ connect=[\d.]+ tls=0\.0"
        r" first_byte=[\d.]+ total=[\d.]+"
    )
    assert re.fullmatch(pattern, record.message)


async def test_http2_is_offered(transport, raw):
    """By ALPN, with HTTP/1.1 beside it: a page's calls share one connection where the
    platform can do so.
    """
    raw.says = b"\x15\x03\x01\x00\x02\x02\x28"  # alert: handshake failure
    url = raw.url.replace("http:", "https:")
    with pytest.raises(UpstreamError):
        await transport.fetch("GET", url, headers={}, seconds=5.0)
    assert b"\x02h2\x08http/1.1" in raw.heard


# Secrets.


async def test_no_log_level_shows_the_token(transport, raw, caplog, capfd):
    """Curl's own log would print each header at DEBUG."""
    with caplog.at_level(logging.DEBUG):
        for says in (answer(b"{}"), b"nonsense\r\n\r\n"):
            raw.says = says
            with contextlib.suppress(UpstreamError):
                await transport.fetch(
                    "POST",
                    f"{raw.url}?{CANARY}",
                    headers={"Authorization": f"Bearer {CANARY}"},
                    body=CANARY.encode(),
                    seconds=1.0,
                )
    printed = capfd.readouterr()
    assert CANARY in raw.heard.decode()
    assert CANARY not in caplog.text + printed.out + printed.err


async def test_an_error_says_nothing_of_the_call(transport, raw):
    """Neither its text nor its causes quote the URL, a header or the answer."""
    raw.says = f"{CANARY}\r\n\r\n".encode()
    with pytest.raises(UpstreamError) as caught:
        await transport.fetch("GET", f"{raw.url}?{CANARY}", headers={}, seconds=1.0)
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None
