"""A server that breaks every rule: which error it is, and the name of its cause."""

import contextlib
import logging
import re
import socket

import pytest

from aims_server.errors import (
    FailureCause,
    UpstreamDropped,
    UpstreamError,
)

from ...waiting import EVER_LONGER, PATIENCE_SECONDS
from .raw_server import BEARER, CANARY, COURSE_FILES, answer, kind_of

pytestmark = pytest.mark.gen_test


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
    """It raises one, and curl's callbacks print nothing on stderr."""
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


@pytest.mark.parametrize("line", [b"X y: z", b"X: a\x01b"])
async def test_a_malformed_trailer_is_no_better(get, line):
    """It is held to what a header is held to; a sound one changes nothing."""
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    assert (await get(body + b"X: y\r\n\r\n")).body == b"{}"
    with pytest.raises(UpstreamError) as caught:
        await get(body + line + b"\r\n\r\n")
    assert caught.type is UpstreamError


@pytest.mark.parametrize("place", ["file:///etc/passwd", "http://169.254.169.254/"])
async def test_no_redirect_leads_out_of_http_or_inwards(get, place):
    """No redirect leads to files or to other hosts of the network."""
    reply = await get(answer(b"", f"Location: {place}", status="302 Found"))
    assert (reply.status, reply.body) == (302, b"")


async def test_only_http_is_spoken(transport):
    """Addresses of other protocols are refused."""
    with pytest.raises(UpstreamError):
        await transport.fetch("file:///etc/passwd", headers={}, seconds=1.0)


# Causes.


async def cause(transport, url: str, seconds=20.0) -> FailureCause:
    """Why a call fails."""
    with pytest.raises(UpstreamError) as caught:
        await transport.fetch(url, headers=BEARER, seconds=seconds)
    assert caught.value.cause
    assert CANARY not in repr(caught.value.cause)
    return caught.value.cause


async def times_out_so(transport, url: str, kind: str) -> bool:
    """Whether a call fails for that, once it has had the time to come so far."""
    for seconds in EVER_LONGER:
        if (await cause(transport, url, seconds)).kind == kind:
            return True
    return False


async def test_a_name_that_is_not_found(transport):
    """The domain "invalid" has none (RFC 6761)."""
    found = await cause(transport, "http://platform.invalid/")
    # Curl's own words would quote the name.
    assert found in (FailureCause("name_not_found"), FailureCause("timeout_name"))


async def test_a_connection_that_is_refused(transport):
    """Where nobody listens the platform is unreachable."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        found = await cause(transport, url)
    assert found == FailureCause("refused", "Connection refused")


async def test_a_connection_that_nobody_accepts(transport):
    """The queue of its listening socket is full."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            found = await cause(transport, f"http://127.0.0.1:{address[1]}/", 0.3)
    assert found.kind == "timeout_connect"


async def test_a_server_that_speaks_no_tls(transport, raw):
    """It takes the connection and says nothing, or something else."""
    raw.says = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    url = raw.url.replace("http:", "https:")
    assert (await cause(transport, url)).kind == "tls"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        assert await times_out_so(transport, url, "timeout_tls")


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("reset", "dropped_before_answer"),
        ("close_before_answer", "dropped_before_answer"),
        ("reset_midway", "dropped_in_body"),
        ("short_body", "dropped_in_body"),
        ("bad_chunk", "dropped_in_body"),
        ("bad_header", "not_http"),
        ("bad_gzip", "bad_gzip"),
        ("gzip_bomb", "too_large"),
    ],
)
async def test_an_answer_that_does_not_come_whole(transport, platform, kind, found):
    """The failure says how many bytes came."""
    platform.faults.set(kind=kind)
    url = f"{platform.base_url}{COURSE_FILES}"
    assert (await cause(transport, url)).kind == found


@pytest.mark.parametrize(
    ("kind", "found"),
    [("hang", "timeout_first_byte"), ("hang_midway", "timeout_in_body")],
)
async def test_an_answer_that_does_not_come_in_time(transport, platform, kind, found):
    """The timeout says how many bytes came."""
    platform.faults.set(kind=kind)
    url = f"{platform.base_url}{COURSE_FILES}"
    assert await times_out_so(transport, url, found)


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "404 Not Found"])
async def test_a_head_that_does_not_come_whole_is_none(get, status):
    """Its status alone would tell of an empty answer: a 401 so cut off would log the
    student out (RFC 9112 8).
    """
    with pytest.raises(UpstreamDropped) as caught:
        await get(f"HTTP/1.1 {status}\r\nContent-Type: application/j".encode())
    assert kind_of(caught.value) == "dropped_before_answer"


async def test_what_is_no_http_is_told(transport, raw):
    """A firewall's greeting, say."""
    raw.says = b"SSH-2.0-OpenSSH\r\n\r\n"
    assert (await cause(transport, raw.url)).kind == "not_http"


async def test_debug_tells_the_time_of_each_step(get, raw, caplog):
    """At DEBUG the log has the time of each step and nothing else of the call."""
    caplog.set_level(logging.DEBUG)
    await get(answer(b"{}"))
    (record,) = caplog.records
    pattern = (
        r"Call 200: new connection, ms: name=[\d.]+ connect=[\d.]+ tls=0\.0"
        r" first_byte=[\d.]+ total=[\d.]+"
    )
    assert re.fullmatch(pattern, record.message)


async def test_http2_is_offered(transport, raw):
    """ALPN offers HTTP/2 beside HTTP/1.1, so that calls may share a connection."""
    raw.says = b"\x15\x03\x01\x00\x02\x02\x28"  # alert: handshake failure
    url = raw.url.replace("http:", "https:")
    with pytest.raises(UpstreamError):
        await transport.fetch(url, headers={}, seconds=PATIENCE_SECONDS)
    assert b"\x02h2\x08http/1.1" in raw.heard
