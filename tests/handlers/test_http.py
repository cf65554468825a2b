"""HTTP/1.1 messages on a connection, as RFC 9112 asks for them: options, targets,
expectations, chunks; docs/http.rst lists which of the rules has which test.
"""

import json

import pytest

from .raw import HEALTH, request

pytestmark = pytest.mark.both_loops

LOGIN = b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = (
    b"POST /api/attendance HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
)


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
     ("keep-alive, close", False), ("close", False)],
)  # fmt: skip
async def test_http_1_0_is_kept_only_if_it_asks(connection, value, kept):
    """HTTP/1.0 is kept alive only if it asks, and the answer says which."""
    head = f"GET /health/live HTTP/1.0\r\nConnection: {value}\r\n\r\n".encode()
    _, headers, _ = await connection.ask(head)
    assert headers["connection"].lower() == ("keep-alive" if kept else "close")
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
    """An absolute target is served as its path, for any host."""
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
    """No path, an invalid host or another scheme is a bare 400; the connection ends."""
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
    """The 400 has no header and no body, and ends the connection."""
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
@pytest.mark.parametrize("length", [b"65537", b"0" * 30 + b"65537", b"9" * 5000])
async def test_a_body_past_the_bound_is_not_awaited(connection, length):
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
    """HTTP/1.0 gets none, nor does a request without a body."""
    connection.send(head + b"Expect: 100-continue\r\n\r\n{}")
    status, _ = await connection.head()
    assert status in (200, 400)


@pytest.mark.gen_test
async def test_zeros_before_a_length_count_for_nothing(connection):
    """Any number of zeros before a length is ignored (RFC 9110 8.6 sets no bound)."""
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
@pytest.mark.parametrize(("size", "status"), [(0x10000, 400), (0x10001, 413)])
async def test_a_chunked_body_may_be_as_large_as_any(connection, size, status):
    """64 KiB; the chunks' own bytes do not count."""
    body = b"{}".ljust(size)
    halves = [body[: size // 2], body[size // 2 :]]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves)
    connection.send(CHUNKED + chunks + b"0\r\n\r\n")
    assert (await connection.answer())[0] == status


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
        b"2\r\n{}\r\n0\r\n" + b"A: b\r\n" * 6000 + b"\r\n",
    ],
)  # fmt: skip
async def test_malformed_chunks_end_the_connection(connection, chunks):
    """With a 400; nothing behind them is taken for a request."""
    connection.send(CHUNKED + chunks + b"GET " + HEALTH + b"\r\n")
    assert (await connection.head())[0] == 400
    assert await connection.ended()
