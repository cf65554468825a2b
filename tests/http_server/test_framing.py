"""How requests are told from each other, and from what is none."""

import asyncio
import json

import pytest

from .bad_input import POST, REFUSED_FRAMING, corpus
from .raw import exchange, status_of

pytestmark = [
    pytest.mark.both_loops,
    pytest.mark.settings(RATE_LIMIT_PER_ADDRESS_PER_MINUTE="100000"),
]


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
    """Every form of RFC 3986 3.2.2 is taken, by both parsers."""
    sent = b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    assert status_of(await exchange(port, sent)) == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("target", [b"/docs", b"/docs?x"])
async def test_a_port_of_thousands_of_digits_is_refused(port, target):
    """Python makes no number of it, and an error here would be a closed connection."""
    sent = b"GET %b HTTP/1.1\r\nHost: x:%b\r\n\r\n" % (target, b"9" * 4301)
    assert status_of(await exchange(port, sent)) == 400


@pytest.mark.gen_test
async def test_an_empty_line_before_a_request_is_ignored(port):
    """Some clients send one behind a body."""
    sent = b"\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    assert status_of(await exchange(port, sent * 2)) == 200


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
async def test_a_body_past_the_bound_can_read_its_413(port):
    """What is left of the body is taken off the wire: the answer is not reset."""
    body = b"x" * 2_000_000
    head = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = await exchange(port, head + body)
    assert status_of(answer) == 413
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["code"] == "too_large"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"1\r\n \r\n" * 12_800 + b"0\r\n\r\n", 12_800),
        (b"1\r\n \r\n0\r\n" + b"A:\r\n" * 8000 + b"\r\n", 8000),
    ],
)
async def test_a_body_of_many_lines_leaves_the_loop_to_others(port, body, lines):
    """The loop has a turn after each 64 lines, however many have come at once."""
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
