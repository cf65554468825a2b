"""One call over curl, against real sockets: what is sent, what comes back, on which
connection, and in what time."""

import asyncio
import os
import warnings

import pytest

from aims_server.errors import (
    UpstreamDropped,
    UpstreamTimeout,
)
from aims_server.upstream.transport import Transport

from ...waiting import PATIENCE_SECONDS
from .raw_server import COURSE_FILES, answer

pytestmark = pytest.mark.gen_test


async def test_a_reply_is_status_body_and_retry_after(get):
    """Nothing else of the platform's answer goes any further."""
    reply = await get(answer(b"{}", "Retry-After: 5", status="503 Busy"))
    assert (reply.status, reply.body, reply.retry_after) == (503, b"{}", 5.0)
    reply = await get(answer(b""))
    assert (reply.status, reply.body, reply.retry_after) == (200, b"", None)


@pytest.mark.parametrize("second", ["5", "9", "Wed, 25 Nov 2026 10:00:00 GMT", "soon"])
async def test_a_wish_said_twice_is_the_first(get, second):
    """A program between the platform and us adds its own, or the same once more."""
    says = answer(b"", "Retry-After: 5", f"Retry-After: {second}", status="503 Busy")
    assert (await get(says)).retry_after == 5.0


async def test_a_wish_as_a_date_is_read_by_the_answers_own(get):
    """Neither clock need be right."""
    ten, later = (f"Wed, 25 Nov 2026 10:0{n}:00 GMT" for n in (0, 1))
    says = answer(b"", f"Retry-After: {later}", f"Date: {ten}", status="503 Busy")
    assert (await get(says)).retry_after == 60.0


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
        raw.url, headers={"X-Own": "1"}, body=b"a=b", seconds=PATIENCE_SECONDS
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
        async with asyncio.timeout(PATIENCE_SECONDS):
            await platform.until(lambda counters: counters.in_flight == 15)
        platform.release()
        await asyncio.gather(*calls)
    assert platform.counters.connections <= 15


async def test_more_calls_than_handles_wait(platform, io_loop):
    """Curl's own line is endless and knows no deadline: slots must stand before it."""
    transport = Transport(2, "test")
    url = platform.base_url + COURSE_FILES
    calls = [
        transport.fetch(url, headers={}, seconds=PATIENCE_SECONDS) for _ in range(10)
    ]
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


@pytest.mark.parametrize("body", [None, b"x"])
async def test_a_connection_closed_while_idle_costs_no_call(transport, get, raw, body):
    """The server may close what is kept at any moment between two calls."""
    await get(answer(b""))
    await raw.hung_up.wait()
    raw.says = answer(b"{}")
    reply = await transport.fetch(
        raw.url, headers={}, body=body, seconds=PATIENCE_SECONDS
    )
    assert reply.body == b"{}"


async def test_a_pool_does_not_cross_a_fork(transport):
    """A curl handle used by two processes hands one the other's answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking at all
        child = os.fork()
    if child == 0:
        fetch = transport.fetch("http://127.0.0.1:1/", headers={}, seconds=1.0)
        try:
            fetch.send(None)
        except RuntimeError as refusal:
            os._exit(7 if "fork" in str(refusal) else 1)
        finally:
            os._exit(2)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


# Time.


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.0001])
async def test_no_time_is_not_endless_time(ask, platform, seconds):
    """Curl reads 0 as "no limit"."""
    platform.hold()
    with pytest.raises(UpstreamTimeout):
        await ask(seconds=seconds)
