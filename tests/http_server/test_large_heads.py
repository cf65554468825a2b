"""Requests whose head is larger than any that is read."""

import json

import pytest

from .bad_input import HOST, TOO_LARGE
from .raw import exchange, status_of

pytestmark = pytest.mark.both_loops


@pytest.mark.gen_test
@pytest.mark.parametrize("case", TOO_LARGE)
async def test_too_large_a_head_is_told_so(port, case, worker, access_lines):
    """It gets a JSON body, a log line and a count; then the connection ends."""
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
    """It gets the CORS headers and its own request id, as with every error."""
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


@pytest.mark.settings(TRUSTED_PROXIES="127.0.0.1")
@pytest.mark.gen_test
async def test_too_large_a_head_is_logged_as_its_clients(port, access_lines):
    """The access line of a head that is too large has its client's address."""
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
async def test_the_longest_head_is_read(port):
    """A target of 8 KiB, a name of 256 bytes, a head of 32 KiB, in 256 lines."""
    target = b"/" + b"a" * (8 * 1024 - 1)
    head = b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n"
    head += b"A: a\r\n" * 252
    head += b"A" * 256 + b": "
    fill = b"a" * (32 * 1024 - len(head) - 4) + b"\r\n\r\n"
    assert len(head + fill) == 32 * 1024
    assert status_of(await exchange(port, head + fill)) == 404


@pytest.mark.gen_test
async def test_long_names_are_not_remembered(port):
    """Tornado remembers a thousand names of headers, and the log 256 methods: each of
    32 KiB, they would fill a worker's memory for ever.
    """
    head = b" / HTTP/1.1\r\n" + HOST + b"\r\n"
    assert status_of(await exchange(port, b"M" * 257 + head)) == 431
    assert status_of(await exchange(port, b"M" * 256 + head)) == 405
