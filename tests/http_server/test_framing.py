"""Requests over raw sockets: framing, slowness, sizes, and a corpus of bad input."""

import asyncio
import json
import socket

import pytest

from ..virtual_time import Clock
from ..waiting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.both_loops

HOST = b"Host: x\r\n"
POST = b"POST /api/login HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
LAST = b"GET /api/nowhere HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
LOGIN = b'{"username": "u", "password": 1}'

REFUSED_FRAMING = {
    "content-length and transfer-encoding": POST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "too large a content-length and transfer-encoding": POST
    + b"Content-Length: 70000\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unequal content-lengths": POST
    + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "equal content-lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "content-length list": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "signed content-length": POST + b"Content-Length: +2\r\n\r\n{}",
    "underscored content-length": POST + b"Content-Length: 1_0\r\n\r\n{}",
    "negative content-length": POST + b"Content-Length: -1\r\n\r\n{}",
    "hexadecimal content-length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "blank content-length": POST + b"Content-Length: \r\n\r\n{}",
    "transfer-encoding twice": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "transfer-encoding in HTTP/1.0": POST.replace(b"1.1", b"1.0")
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before colon": b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n",
    "chunk size 0x1": POST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    "signed chunk size": POST
    + b"Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
    "LF in a chunk extension": POST
    + b"Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n",
    "chunk without its end": POST
    + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab0\r\n\r\n",
    "bare CR": b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
    "bare CR before a request": b"\rGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "CR behind an empty line": b"\r\n\rGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "CR before the first CRLF": b"GET /health HTTP/1.1\r\r\nHost: x\r\n\r\n",
    "HTTP/1.2 without a host": b"GET /health HTTP/1.2\r\n\r\n",
    "NUL": b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
    "NUL in the path": b"GET /hea\0lth HTTP/1.1\r\nHost: x\r\n\r\n",
    "space before the first header": b"GET /health HTTP/1.1\r\n Host: x\r\n\r\n",
    "folded line": b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "bad host": b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "address without its bracket": b"GET /health HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "host with two colons": b"GET /health HTTP/1.1\r\nHost: x:80:80\r\n\r\n",
    "port without digits": b"GET /health HTTP/1.1\r\nHost: x:http\r\n\r\n",
    "LF for CRLF": b"GET /health HTTP/1.1\nHost: x\n\n",
    "one LF among CRLF": b"GET /health HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
    "no version": b"GET /health\r\nHost: x\r\n\r\n",
    "bad version": b"GET /health HTTP/1.x\r\nHost: x\r\n\r\n",
    "HTTP/3.0": b"GET /health HTTP/3.0\r\nHost: x\r\n\r\n",
    "no method": b" /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "binary": bytes(range(256)) + b"\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "header without a name": b"GET /health HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
    "header without a colon": b"GET /health HTTP/1.1\r\nHost: x\r\nabc\r\n\r\n",
    "control character in a value": b"GET / HTTP/1.1\r\nHost: x\r\nA: \x07\r\n\r\n",
}

TOO_LARGE = {
    "70 KB header": (
        431,
        b"GET /health HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
    ),
    "33 KB header that does not end": (
        431,
        b"GET /health HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 33_000,
    ),
    "300 headers": (
        431,
        b"GET /health HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"A%d: b\r\n" % n for n in range(300))
        + b"\r\n",
    ),
    "5000 headers": (
        431,
        b"GET /health HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"A%d: b\r\n" % n for n in range(5000))
        + b"\r\n",
    ),
    "9 KB target": (
        414,
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    "100 KB target": (
        414,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    "40 KB target behind an empty line": (
        414,
        b"\r\nGET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    "1001 arguments": (
        414,
        b"GET /api/subject-attendance?"
        + b"&".join(b"a%d=" % n for n in range(1001))
        + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
}

BAD_BODIES = [
    b"", b" ", b"{", b"}", b"[]", b"[[]]", b"1", b"-", b"nul", b"null", b"true", b'""',
    b'"', b"{'a': 1}", b'{"username"}', b'{"username":}', b'{"username": "u",}',
    b'{"username": "u"}', b'{"password": "p"}', b'{"username": "u", "password": 1}',
    b'{"username": [], "password": "p"}', b'{"username": {}, "password": "p"}',
    b'{"username": null, "password": null}', b'{"username": true, "password": "p"}',
    b'{"username": "u", "password": NaN}', b'{"username": "u", "password": Infinity}',
    b'{"username": 1e999, "password": "p"}', b'{"username": "\\ud800", "password": 1}',
    b'{"username": "\\x", "password": "p"}', b'{"username": "\n", "password": "p"}',
    b'{"username": "a\\u0000b", "password": "p"}', b'\xef\xbb\xbf{"username": "u"}',
    b'{"username": "a\\r\\nb", "password": "p"}', b'{"username": "\xc3\x28"}',
    b"\xff\xfe{\x00}\x00", b"\x1f\x8b\x08\x00", b"[" * 5000, b'{"a":' * 5000,
    b"[" * 100 + b"]" * 100, b'{"username": "' + b"a" * 5000 + b'", "password": "p"}',
    b'{"username": ' + b"9" * 5000 + b', "password": "p"}', b"/**/{}", b"{}{}", b"{} x",
    b"username=u&password=p", b"<xml/>", b"--x\r\n\r\n", b"%00", b"\0", b"\0" * 100,
]  # fmt: skip

BAD_TOKENS = [
    b"", b" ", b"Bearer", b"Bearer ", b"bearer\t", b"Basic dTpw", b"Bearer \x80",
    b"Bearer a b", b"Bearer a,b", b"Bearer <a>", b"Bearer a\\b", b"Bearer 'a'",
    b"Bearer {}", b"Bearer a;b", b"Bearer a:b", b"Bearer a@b", b"Bearer a%20b",
    b"Bearer a&b", b"Bearer a?b", b"Bearer a#b", b"Bearer a!b", b"Bearer a$b",
    b"Bearer a(b)", b"Bearer a*b", b"Bearer a|b", b"Bearer a^b", b"Bearer \xc3\xa9",
    b"Bearer " + b"a" * 4097, b"Bearer " + b"a" * 20_000, b"BearerX a", b"Token a",
    b"Bearer Bearer a", b'Bearer "a"', b"Bearer [a]", b"Bearer `a`", b"Digest a=b",
]  # fmt: skip

BAD_TARGETS = [
    b"//", b"//evil.example/api/quiz", b"/api/quiz/..", b"/../etc/passwd",
    b"/%2e%2e/", b"/%00", b"/%ff", b"/%", b"/%zz", b"/api/quiz%20", b"/api/quiz;a",
    b"/api//quiz", b"/API/QUIZ", b"*", b"http://evil.example/x", b"evil.example:443",
    b"/api/\xc3\xa9", b"/x?a=%ff", b"/.env", b"/metrics/", b"/health/x", b"/docs/../x",
    b"/api/subject-attendance?subject=%ff&studentId=1&cfId=1",
    b"/api/subject-attendance?subject=a&studentId=a&cfId=1",
    b"/api/subject-attendance?subject=a&studentId=1&cfId=1e9",
    b"/api/subject-attendance?subject[]=a",
]  # fmt: skip


def corpus() -> list[bytes]:
    """Every bad input as bytes on the wire; none of them is a valid request."""
    inputs = [*REFUSED_FRAMING.values(), *(sent for _, sent in TOO_LARGE.values())]
    for body in BAD_BODIES:
        inputs.append(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    for token in BAD_TOKENS:
        inputs.append(b"GET /api/quiz HTTP/1.1\r\n" + HOST)
        inputs[-1] += b"Authorization: " + token + b"\r\n\r\n"
    for target in BAD_TARGETS:
        inputs.append(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    return inputs


async def exchange(port: int, sent: bytes, *, wait: float = 10) -> bytes:
    """All that comes back until the server closes, after our end is shut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(wait):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.fixture(name="port")
def _port(http_server, http_port):
    return http_port


@pytest.fixture(name="variables")
def _variables():
    return {"RATE_LIMIT_PER_ADDRESS_PER_MINUTE": "100000"}


def status_of(answer: bytes) -> int | None:
    """The status of an answer, None for a connection closed without one."""
    return int(answer.split(b" ", 2)[1]) if answer else None


@pytest.mark.gen_test
@pytest.mark.parametrize("case", REFUSED_FRAMING)
async def test_framing_is_strict(port, case):
    """Each of these is a bare 400 or a closed connection, not the answer of a handler
    that took it for a request and found fault with its body.
    """
    answer = await exchange(port, REFUSED_FRAMING[case])
    assert answer in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.gen_test
@pytest.mark.parametrize("target", [b"/health/live", b"/health/live?x"])
@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"AIMS.example",
        b"aims.example.",
        b"aims.example:",
        b"aims_server:3001",
        b"xn--bcher-kva.example",
        b"203.0.113.7:3001",
        b"[2001:db8::1]:3001",
        b"[fe80::1%25eth0]",
    ],
)
async def test_every_form_of_a_host_is_taken(port, target, host):
    """Whatever RFC 3986 3.2.2 has; in a simple request and in any other."""
    sent = b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    assert status_of(await exchange(port, sent)) == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("case", TOO_LARGE)
async def test_too_large_a_head_is_told_so(port, case, worker, access_lines):
    """With a body in JSON, a line in the log and a count; then the connection ends."""
    status, sent = TOO_LARGE[case]
    head, _, body = (await exchange(port, sent)).partition(b"\r\n\r\n")
    assert status_of(head) == status
    assert b"\r\nConnection: close" in head
    assert b"\r\nDate: " in head
    told = json.loads(body)
    assert told["code"] == "too_large"
    (line,) = access_lines.told()
    assert (line["status"], line["requestId"]) == (status, told["requestId"])
    series = (
        f'aims_requests_total{{method="OTHER",route="not-found",status="{status}"}}'
    )
    assert f"{series} 1.0" in worker.metrics.exposition().decode()


def with_origin(case: str, origin: str) -> bytes:
    """A head that is too large, of a page on another origin."""
    named = f"Host: x\r\nOrigin: {origin}\r\nX-Request-Id: own\r\n"
    return TOO_LARGE[case][1].replace(HOST, named.encode())


@pytest.mark.gen_test
@pytest.mark.parametrize("case", sorted(TOO_LARGE.keys() - {"100 KB target"}))
async def test_an_allowed_origin_may_read_that(port, case, settings):
    """As it may every other error, and finds its own request id in it."""
    sent = with_origin(case, settings.cors_origins[0])
    head, _, body = (await exchange(port, sent)).partition(b"\r\n\r\n")
    allowed = f"\r\nAccess-Control-Allow-Origin: {settings.cors_origins[0]}\r\n"
    assert allowed.encode() in head
    assert json.loads(body)["requestId"] == "own"


@pytest.mark.gen_test
@pytest.mark.parametrize("case", TOO_LARGE)
async def test_another_origin_may_not(port, case):
    """Caches are told that this differs."""
    head = await exchange(port, with_origin(case, "https://other.example"))
    assert b"Access-Control" not in head
    assert b"\r\nVary: Origin\r\n" in head


class TestBehindAProxy:
    """A proxy that names its clients."""

    @pytest.fixture(name="variables")
    def _variables(self):
        return {"TRUSTED_PROXIES": "127.0.0.1"}

    @pytest.mark.gen_test
    async def test_too_large_a_head_is_logged_as_its_clients(self, port, access_lines):
        """Though nothing has parsed it."""
        named = HOST + b"X-Forwarded-For: 203.0.113.7\r\n"
        await exchange(port, TOO_LARGE["300 headers"][1].replace(HOST, named))
        (line,) = access_lines.told()
        assert line["address"] == "203.0.113.7"


@pytest.mark.gen_test
@pytest.mark.parametrize("case", TOO_LARGE)
async def test_too_large_a_head_of_head_gets_no_body(port, case):
    """An answer to HEAD has none, whatever is wrong with it."""
    status, sent = TOO_LARGE[case]
    answer = await exchange(port, sent.replace(b"GET", b"HEAD", 1))
    assert status_of(answer) == status
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.gen_test
async def test_an_empty_line_before_a_request_is_ignored(port):
    """Some clients send one behind a body."""
    sent = b"\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    assert status_of(await exchange(port, sent * 2)) == 200


@pytest.mark.gen_test
async def test_the_longest_head_is_read(port):
    """A target of 8 KiB, a head of nearly 32 KiB, in 256 lines."""
    target = b"/" + b"a" * (8 * 1024 - 1)
    head = b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n"
    head += b"A: a\r\n" * 252
    fill = b"A: " + b"a" * (32 * 1024 - len(head) - 7) + b"\r\n\r\n"
    assert len(head + fill) == 32 * 1024
    assert status_of(await exchange(port, head + fill)) == 404


@pytest.mark.gen_test
async def test_a_corpus_of_bad_input(port, platform, capfd, access_lines):
    """150 and more bad inputs: a 4xx or a closed connection each, and no traceback."""
    inputs = corpus()
    assert len(inputs) >= 150
    for sent in inputs:
        status = status_of(await exchange(port, sent))
        assert status is None or 400 <= status < 500, sent[:200]
    assert platform.counters.total == 0
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.gen_test
async def test_no_second_request_is_smuggled(port):
    """What follows a refused request on its connection is not answered."""
    smuggled = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    for case in ("content-length and transfer-encoding", "equal content-lengths"):
        answer = await exchange(port, REFUSED_FRAMING[case] + smuggled)
        assert b"healthy" not in answer


@pytest.mark.gen_test
async def test_pipelined_requests_are_answered_in_order(port):
    """Two well-formed requests in one packet get two answers."""
    one = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    two = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await exchange(port, one + two)
    assert answer.index(b"healthy") < answer.index(b"not_found")


@pytest.mark.gen_test
async def test_a_body_past_the_bound_can_read_its_413(port):
    """What is left of the body is taken off the wire: the answer is not reset."""
    body = b"x" * 2_000_000
    head = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = await exchange(port, head + body)
    assert status_of(answer) == 413
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["code"] == "too_large"


@pytest.mark.gen_test
async def test_a_chunked_body_past_the_bound_is_a_413(port):
    """The bound holds without a Content-Length."""
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    sent = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 3
    assert status_of(await exchange(port, sent + b"0\r\n\r\n")) == 413


class TestSlowness:
    """Clients that send slowly."""

    @pytest.fixture(name="listener_options")
    def _listener_options(self):
        """Slow connections are closed after two seconds."""
        return {"arrival_seconds": 2.0}

    @pytest.mark.gen_test
    async def test_half_sent_requests_are_closed(self, port, front):
        """300 of them are closed after the time-out; another client is served."""
        halves = [
            b"",
            b"GET /hea",
            b"GET /health HTTP/1.1\r\nHost: x\r\n",
            POST + b"Content-Length: 10\r\n\r\n{",
        ]
        writers = []
        readers = []
        for number in range(300):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(halves[number % len(halves)])
            readers.append(reader)
            writers.append(writer)
        assert (await front.ask("/health")).code == 200
        async with asyncio.timeout(PATIENCE_SECONDS):
            leftovers = await asyncio.gather(*(reader.read() for reader in readers))
        assert set(leftovers) == {b""}
        for writer in writers:
            writer.close()

    @pytest.mark.gen_test
    async def test_a_trickle_does_not_extend_the_time(self, port):
        """A byte now and then does not reset the time-out."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        trickle = asyncio.create_task(_trickle(writer))
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await reader.read() == b""
        trickle.cancel()
        writer.close()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"1\r\n \r\n" * 12_800 + b"0\r\n\r\n", 12_800),
        (b"1\r\n \r\n0\r\n" + b"A:\r\n" * 8000 + b"\r\n", 8000),
    ],
)
async def test_a_body_of_many_lines_leaves_the_loop_to_others(port, body, lines):
    """After each 64 of them, whatever has come at once, others have a turn."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    request = POST + b"Transfer-Encoding: chunked\r\n\r\n" + body
    task = asyncio.ensure_future(others())
    answer = await exchange(port, request)
    task.cancel()
    assert status_of(answer) == 400
    assert turns > lines / 64


class TestLastAnswer:
    """A client that sends on while its last answer is on its way."""

    @pytest.fixture(name="listener_options")
    def _listener_options(self):
        """No time passes: what a client waits for has to come."""
        return {"clock": Clock()}

    @pytest.mark.gen_test
    @pytest.mark.parametrize(
        ("front", "status"),
        [
            (b"(", 400),
            (POST + b"Content-Length: x\r\n\r\n", 400),
            (POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
            (b"GET /" + b"a" * 40_000, 414),
            (POST + b"Expect: 100-continue\r\nContent-Length: 70000\r\n\r\n", 413),
            (POST + b"Content-Length: 70000\r\n\r\n{", 413),
            (POST + b"Transfer-Encoding: chunked\r\n\r\n10001\r\n{", 413),
            (LAST, 404),
            (LAST.replace(b"nowhere", b"quiz"), 401),
        ],
    )
    async def test_the_rest_may_still_be_sent(self, port, http_server, front, status):
        """To close at once would reset the connection, and the answer be lost."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(front)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert status_of(await reader.read()) == status
        assert http_server.connections == 1
        writer.write(b"a" * 70_000)
        writer.close()
        await eventually(lambda: not http_server.connections)

    @pytest.mark.gen_test
    @pytest.mark.parametrize(
        "sent",
        [LAST, LAST.replace(b"nowhere", b"quiz"), b"GET / HTTP/1.1\r\nA\r\n\r\n"],
    )
    async def test_who_leaves_before_it_is_no_failure(
        self, port, http_server, access_lines, sent
    ):
        """There may be nothing left to close in stages."""
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(sent)
        client.close()
        await eventually(access_lines.told)
        await eventually(lambda: not http_server.connections)
        await asyncio.sleep(0)
        assert {line["level"] for line in access_lines.told()} == {"info"}


class TestCrowd:
    """More connections than the server takes."""

    @pytest.fixture(name="listener_options")
    def _listener_options(self):
        """20 connections, each of which has a moment for its request."""
        return {"max_connections": 20, "clock": Clock()}

    @pytest.mark.gen_test
    async def test_one_connection_too_many_is_told_so(self, port):
        """Past the cap a connection gets a 503 in JSON and is closed."""
        kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        await asyncio.sleep(0.05)
        answer = await exchange(port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        for _, writer in kept:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert status_of(answer) == 503
        assert b"Retry-After: 1" in head
        assert json.loads(body)["code"] == "overloaded"


async def _trickle(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"G")
        await asyncio.sleep(0.1)
