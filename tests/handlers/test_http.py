"""HTTP as RFC 9110 and RFC 9112 ask for it, over raw sockets; docs/http.rst lists which
of their rules has which test.
"""

import asyncio
import json
import re
from pathlib import Path

import pytest

from aims_server.pages import PAGES

from ..waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.both_loops

ROOT = Path(__file__).parents[2]
HEALTH = b"/health/live HTTP/1.1\r\nHost: x\r\n"
LOGIN = b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = (
    b"POST /api/attendance HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
)
GET_PATHS = [
    *(page.path for page in PAGES if not page.parameters),
    "/health", "/health/live", "/metrics", "/openapi.json", "/docs",
    "/docs/swagger-ui.css", "/nowhere",
]  # fmt: skip
# What differs from one answer to the next.
VARYING = {"x-request-id", "date", "server-timing", "ratelimit", "x-cache", "age"}


class Connection:
    """A raw connection whose answers are read one by one."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port):
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**22))

    def send(self, data):
        """Bytes as they are."""
        self._writer.write(data)

    async def head(self):
        """Status and headers of the next answer, or of a 100."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:-2])
        return int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}

    async def answer(self):
        """Status, headers and body of the next answer to anything but HEAD."""
        status, headers = await self.head()
        length = int(headers.get("content-length", 0))
        return status, headers, await self.read(length)

    async def read(self, length):
        """So many bytes of a body."""
        return await self._reader.readexactly(length)

    async def ask(self, data):
        """Send and read the answer."""
        self.send(data)
        return await self.answer()

    async def ended(self):
        """Whether the server closes, with nothing more to read."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._reader.read() == b""

    def close(self):
        """Close."""
        self._writer.close()


@pytest.fixture(name="connection")
def _connection(io_loop, http_server, http_port):
    connection = io_loop.run_sync(lambda: Connection.open(http_port))
    yield connection
    connection.close()


def request(path, token, *lines, method="GET"):
    """A student's request with these further header lines."""
    head = (f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}")
    return "".join(f"{line}\r\n" for line in (*head, *lines, "")).encode()


# Connection options.


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/api/quiz", "/health/live"])
@pytest.mark.parametrize(
    "value",
    [
        "close",
        "Close",
        "close, TE",
        "TE, close",
        "TE,close ,x",
        "TE\r\nConnection: close",
    ],
)
async def test_close_among_the_options_closes(connection, token, path, value):
    """Wherever it stands in the list; the answer says so. Also for a kept page."""
    await connection.ask(request("/api/quiz", token))
    _, headers, _ = await connection.ask(request(path, token, f"Connection: {value}"))
    assert headers["connection"] == "close"
    assert await connection.ended()


@pytest.mark.gen_test
async def test_nothing_is_served_behind_a_close(connection, token):
    """A request pipelined behind the one that closes gets no answer."""
    closing = request("/health/live", token, "Connection: close")
    _, headers, _ = await connection.ask(closing + request("/api/quiz", token))
    assert headers["connection"] == "close"
    assert await connection.ended()


@pytest.mark.gen_test
async def test_an_upgrade_is_ignored(connection, token):
    """The request is answered in HTTP/1.1."""
    lines = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c, websocket")
    status, headers, _ = await connection.ask(request("/health/live", token, *lines))
    assert status == 200
    assert "upgrade" not in headers


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/api/quiz", "/health/live"])
@pytest.mark.parametrize("value", ["keep-alive", "TE", "closed", "x-close, keep-alive"])
async def test_other_options_keep_the_connection(connection, token, path, value):
    """HTTP/1.1 keeps it by default."""
    await connection.ask(request("/api/quiz", token))
    for _ in range(2):
        status, headers, _ = await connection.ask(
            request(path, token, f"Connection: {value}")
        )
        assert status == 200
        assert "connection" not in headers


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("value", "kept"),
    [("keep-alive", True), ("TE, Keep-Alive", True), ("TE", False),
     ("keep-alive, close", False)],
)  # fmt: skip
async def test_http_1_0_is_kept_only_if_it_asks(connection, value, kept):
    """And is told so."""
    head = f"GET /health/live HTTP/1.0\r\nConnection: {value}\r\n\r\n".encode()
    _, headers, _ = await connection.ask(head)
    assert headers.get("connection", "close").lower() == (
        "keep-alive" if kept else "close"
    )
    if kept:
        assert (await connection.ask(head))[0] == 200
    else:
        assert await connection.ended()


@pytest.mark.gen_test
@pytest.mark.parametrize("version", ["1.2", "1.9"])
async def test_a_later_minor_version_is_1_1(connection, version):
    """It needs a Host, is kept, and told of the end, as HTTP/1.1 is."""
    head = f"GET /health/live HTTP/{version}\r\nHost: x\r\n"
    _, headers, _ = await connection.ask(f"{head}\r\n".encode())
    assert "connection" not in headers
    _, headers, _ = await connection.ask(f"{head}Connection: close\r\n\r\n".encode())
    assert headers["connection"] == "close"
    assert await connection.ended()


# Targets.


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "target", ["http://x/health/live", "HTTP://other:80/health/live?a=b", "https://[::1]/health/live"]
)  # fmt: skip
async def test_an_absolute_target_is_its_path(connection, target):
    """Whatever host it names."""
    status, _, body = await connection.ask(
        f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    )
    assert status == 200
    assert b"healthy" in body


@pytest.mark.gen_test
async def test_an_absolute_target_leads_to_a_kept_page(connection, token):
    """The same answer as by its path."""
    plain = await connection.ask(request("/api/quiz", token))
    absolute = await connection.ask(request("http://x/api/quiz", token))
    assert (absolute[0], absolute[2]) == (200, plain[2])
    assert absolute[1]["x-cache"] == "HIT"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "target",
    ["http://", "http:///health", "http://user@x/health", "ftp://x/health", "health",
     "x:443", "*", "?a=b", "http:/health", "http://x:y/health", "http://x:80:80/health",
     "http://::1/health", "http://[::1/health", "http://:80/health", "http://x,y/health",
     "http://%/health", "http://x\\y/health"],
)  # fmt: skip
async def test_other_targets_are_malformed(connection, target):
    """No path, no valid host, another scheme: a bare 400, and the end."""
    status, headers, _ = await connection.ask(
        f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    )
    assert (status, headers) == (400, {})
    assert await connection.ended()


@pytest.mark.gen_test
@pytest.mark.parametrize("target", ["*", "http://x"])
async def test_options_of_the_server(connection, target):
    """``OPTIONS *`` is answered, and its absolute form."""
    status, headers, _ = await connection.ask(
        f"OPTIONS {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    )
    assert status == 204
    assert "content-length" not in headers


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS, to a port without it
        b"EHLO x\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_a_bare_400(connection, sent):
    """No header, no body, and the end."""
    connection.send(sent)
    assert await connection.head() == (400, {})
    assert await connection.ended()


# Expectations.


@pytest.mark.gen_test
@pytest.mark.parametrize("value", ["100-continue", "100-Continue", "x, 100-CONTINUE"])
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Content-Length: 2", b"{}"),
        ("Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
    ],
)
async def test_a_waiting_client_is_told_to_continue(connection, value, framing, body):
    """In any case of the word; then its body is read and answered."""
    connection.send(LOGIN + f"{framing}\r\nExpect: {value}\r\n\r\n".encode())
    assert await connection.head() == (100, {})
    connection.send(body)
    assert (await connection.answer())[0] == 400
    assert (await connection.ask(b"GET " + HEALTH + b"\r\n"))[0] == 200


@pytest.mark.gen_test
async def test_a_body_to_be_refused_is_not_asked_for(connection, front):
    """413 in place of the 100, with the body unsent; then the connection ends."""
    connection.send(LOGIN + b"Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n")
    status, headers, body = await connection.answer()
    assert (status, json.loads(body)["code"]) == (413, "too_large")
    assert headers["connection"] == "close"
    assert await connection.ended()
    assert (await front.ask("/health")).code == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("length", [b"67108865", b"0" * 30 + b"67108865", b"9" * 30])
async def test_a_body_past_all_bounds_is_not_read(connection, length):
    """413 at once, though the client did not ask first."""
    connection.send(LOGIN + b"Content-Length: " + length + b"\r\n\r\n{")
    assert (await connection.answer())[0] == 413
    assert await connection.ended()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "head",
    [
        LOGIN.replace(b"1.1", b"1.0") + b"Content-Length: 2\r\n",
        LOGIN + b"Content-Length: 0\r\n",
        b"GET " + HEALTH,
    ],
)
async def test_no_100_where_none_belongs(connection, head):
    """Not to HTTP/1.0, nor where there is no body."""
    connection.send(head + b"Expect: 100-continue\r\n\r\n{}")
    status, _ = await connection.head()
    assert status in (200, 400)


@pytest.mark.gen_test
async def test_zeros_before_a_length_count_for_nothing(connection):
    """However many (RFC 9110 8.6 sets no bound)."""
    status, _, body = await connection.ask(
        LOGIN + b"Content-Length: %030d\r\n\r\n{}" % 2
    )
    assert (status, json.loads(body)["code"]) == (400, "invalid_request")


# Chunked bodies.


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "chunks",
    [
        b'2;a\r\n{}\r\n0\r\n\r\n',
        b'2 ; a=b;c="d;e" ;\xe9\r\n{}\r\n0;last\r\n\r\n',
        b"1\r\n{\r\n1\r\n}\r\n0000\r\n\r\n",
        b"02\r\n{}\r\n0\r\nA: b\r\nX-Trailer:\r\n\r\n",
        b"2\r\n{}\r\n0\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
    ],
)  # fmt: skip
async def test_extensions_and_trailers_are_read_over(connection, chunks):
    """The body is what the chunks hold; the next request follows behind them."""
    for size in (len(chunks), 1):
        connection.send(CHUNKED)
        for at in range(0, len(chunks), size):
            connection.send(chunks[at : at + size])
        status, _, body = await connection.answer()
        assert status == 400
        assert "token" in json.loads(body)["message"]
    assert (await connection.ask(b"GET " + HEALTH + b"\r\n"))[0] == 200


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "chunks",
    [
        b"2;a\nb\r\n{}\r\n0\r\n\r\n", b"2;a\rb\r\n{}\r\n0\r\n\r\n",
        b";a\r\n{}\r\n0\r\n\r\n",
        b"2a;\r\n{}\r\n0\r\n\r\n", b"0x2\r\n{}\r\n0\r\n\r\n", b"2 x\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\nA\r\n\r\n", b"2\r\n{}\r\n0\r\nA : b\r\n\r\n",
        b"2\r\n{}\r\n0\r\nA: b\nC: d\r\n\r\n", b"2\r\n{}0\r\n\r\n",
        b"2;" + b"a" * 2000 + b"\r\n{}\r\n0\r\n\r\n", b"f" * 17 + b"\r\n{}",
        b"2\r\n{}\r\n0\r\n" + b"A: b\r\n" * 6000 + b"\r\n", b"ffffffff\r\n{}",
    ],
)  # fmt: skip
async def test_malformed_chunks_end_the_connection(connection, chunks):
    """With a 400; nothing behind them is taken for a request."""
    connection.send(CHUNKED + chunks + b"GET " + HEALTH + b"\r\n")
    assert (await connection.head())[0] == 400
    assert await connection.ended()


# HEAD, OPTIONS, negotiation.


@pytest.mark.gen_test
@pytest.mark.parametrize("path", GET_PATHS)
@pytest.mark.parametrize(
    "more", [(), ("Accept-Encoding: gzip",), ("If-None-Match: *",)]
)
async def test_head_is_get_without_the_body(connection, token, path, more, clock):
    """The same status and headers, on every path that has GET, kept or not."""
    clock.stop()
    await connection.ask(request(path, token))
    status, headers, body = await connection.ask(request(path, token, *more))
    connection.send(request(path, token, *more, method="HEAD"))
    without = await connection.head()
    lasting = {name: headers[name] for name in headers.keys() - VARYING}
    if path not in ("/metrics", "/nowhere"):
        assert without[1].get("content-length") == headers.get("content-length")
    for each in (lasting, without[1]):
        each.pop("content-length", None)
    assert (status, lasting) == (
        without[0],
        {name: without[1][name] for name in without[1].keys() - VARYING},
    )
    assert (await connection.ask(b"GET " + HEALTH + b"\r\n"))[2].startswith(
        b'{"status"'
    )
    assert body or status == 304


@pytest.mark.gen_test
async def test_every_answer_is_dated(connection, token):
    """In the one form that is to be generated, whoever answers."""
    await connection.ask(request("/api/quiz", token))
    for asked in (
        request("/api/quiz", token),
        request("/api/quiz", token, "If-None-Match: *"),
        request("/health/live", token),
        request("/nowhere", token),
        request("/api/quiz", "a b"),
        request("/" + "a" * 9000, token),
    ):
        _, headers, _ = await connection.ask(asked)
        assert re.fullmatch(
            r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
            headers["date"],
        )


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/api/quiz", "/docs"])
async def test_a_304_has_what_a_cache_updates(connection, token, path):
    """The tag, the freshness and ``Vary`` of the 200, and nothing of its body."""
    status, whole, _ = await connection.ask(request(path, token))
    known = f"If-None-Match: {whole['etag']}"
    for lines in ((known,), (known, "Trailer: none")):  # by the fast path and without
        status, headers, body = await connection.ask(request(path, token, *lines))
        assert (status, body) == (304, b"")
        for name in ("etag", "vary", "cache-control"):
            assert headers[name].split(",")[0] == whole[name].split(",")[0]
        assert "content-length" not in headers


@pytest.mark.gen_test
async def test_a_range_is_ignored(connection, token):
    """The whole page is sent."""
    _, _, whole = await connection.ask(request("/api/quiz", token))
    status, _, body = await connection.ask(
        request("/api/quiz", token, "Range: bytes=0-1")
    )
    assert (status, body) == (200, whole)


@pytest.mark.gen_test
async def test_a_condition_on_a_post_is_not_evaluated(connection, token):
    """304 is an answer to GET and HEAD only (RFC 9110 13.1.2), kept or not."""
    body = json.dumps({"token": token}).encode()
    lines = (
        "Content-Type: application/json",
        "If-None-Match: *",
        f"Content-Length: {len(body)}",
    )
    asked = request("/api/attendance", token, *lines, method="POST") + body
    assert [(await connection.ask(asked))[0] for _ in range(2)] == [200, 200]


@pytest.mark.gen_test
async def test_a_condition_changes_no_failure(connection):
    """What would not be 200 without it stays what it is."""
    for path, status in (("/nowhere", 404), ("/api/quiz", 401)):
        asked = request(path, "a b", "If-None-Match: *")
        assert (await connection.ask(asked))[0] == status


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("path", ["/api/quiz", "/api/attendance", "/health", "/gone"])
async def test_every_answer_varies_by_origin(connection, path, method):
    """With and without one: a shared cache must not give it to another's script."""
    for lines in ((), ("Origin: http://localhost:3000",)):
        connection.send(request(path, "a b", *lines, method=method))
        _, headers = await connection.head()
        assert "Origin" in headers["vary"].split(", ")
        if method != "HEAD":
            await connection.read(int(headers.get("content-length", 0)))


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/api/quiz", "/nowhere", "/docs/none"])
async def test_every_path_answers_a_preflight(connection, path):
    """With permission for a listed origin, so that its script may read a 404 too."""
    lines = ("Origin: http://localhost:3000", "Access-Control-Request-Method: GET")
    status, headers, _ = await connection.ask(
        request(path, "a", *lines, method="OPTIONS")
    )
    assert status == 204
    assert headers["access-control-allow-origin"] == "http://localhost:3000"
    status, headers, _ = await connection.ask(request(path, "a b", *lines))
    assert status in (401, 404)
    assert headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("accept", "json_is_sent"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", True),
        ("application/json, */*", False),
        ("application/json;q=0, text/plain", False),
        ("application/json, text/plain;q=0.5", True),
        ("text/plain;q=0.4, application/*;q=0.5", True),
        ("application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1", False),
        ("text/html, application/json;q=0.9, */*;q=0.8", True),
        ("application/json;q=0.4, text/plain;version=0.0.4;q=0.5", False),
        ("application/json;q=0.4, text/plain;version=0.0.3;q=0.5", True),
        ("application/json; charset=UTF-8, text/plain;q=0.5", True),
    ],
)
async def test_metrics_are_json_where_accept_prefers_it(
    connection, accept, json_is_sent
):
    """Above text; equal weights give text."""
    lines = () if accept is None else (f"Accept: {accept}",)
    _, headers, _ = await connection.ask(request("/metrics", "a", *lines))
    assert headers["content-type"].startswith("application/json") == json_is_sent


def test_the_tests_of_the_table_exist():
    """Each that docs/http.rst names as the proof of a rule."""
    table = (ROOT / "docs" / "http.rst").read_text("utf-8")
    named = re.findall(r"``([\w/]+\.py)::(\w+)``", table)
    assert len(named) > 30
    for file, name in named:
        text = (ROOT / "tests" / file).read_text("utf-8")
        assert re.search(rf"^ *(?:async )?def {name}\(", text, re.MULTILINE), name
