"""One line for each request: its fields, its level, and how lines wait for others."""

import io
import json
import logging
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.logs.access_line import access_fields, access_lines
from aims_server.logs.access_log import AccessLog
from aims_server.logs.format import json_line
from aims_server.logs.handlers import configure_logging

from .lines import FIELDS, objects


def test_an_access_line_tells_route_status_times_and_outcome(written):
    """One JSON object has all figures of a request."""
    lines = written()
    AccessLog().write(
        **{**FIELDS, "status": 504},
        cache="MISS",
        upstream_seconds=0.01,
        code="upstream_timeout",
    )
    (entry,) = objects(lines())
    assert re.fullmatch(r"20\S+Z", entry.pop("time"))
    assert entry == {
        "level": "warning",
        "logger": "aims_server.access",
        "message": "GET /api/quiz 504",
        "requestId": "abc-1",
        "route": "quiz",
        "method": "GET",
        "path": "/api/quiz",
        "status": 504,
        "seconds": 0.012346,
        "address": "192.0.2.7",
        "cache": "MISS",
        "upstreamSeconds": 0.01,
        "code": "upstream_timeout",
    }


def test_an_access_line_as_text_says_nothing_twice(written):
    """On a terminal the message tells method, path and status, the rest follows."""
    lines = written("text")
    AccessLog().write(**FIELDS, cache="HIT")
    (line,) = lines()
    assert line.decode().partition(" ")[2] == (
        "INFO    aims_server.access: GET /api/quiz 200 requestId=abc-1 route=quiz "
        "seconds=0.012346 address=192.0.2.7 cache=HIT"
    )


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("debug", [499, 500, 200]),
        ("info", [499, 500]),
        ("warning", [500]),
        ("error", []),
    ],
)
def test_the_level_decides_which_requests_are_told(written, level, told):
    """Failures of the service at WARNING, quiet answers at DEBUG, others at INFO."""
    lines = written("json", level)
    access = AccessLog()
    for status in (499, 500):
        access.write(**{**FIELDS, "status": status})
    access.write(**FIELDS, quiet=True)
    assert [entry["status"] for entry in objects(lines())] == told


def test_without_configuration_nothing_is_told(capfd):
    """A test's application is silent."""
    AccessLog().write(**FIELDS)
    assert capfd.readouterr() == ("", "")


def test_a_long_path_is_cut():
    """A line stays short enough to be written to a pipe in one piece."""
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    AccessLog().write(**{**FIELDS, "path": "/" + "\n" * 60_000})
    assert len(stream.getvalue()) < 8192
    assert json.loads(stream.getvalue())["path"] == "/" + "\n" * 511


# Lines that wait for the end of a turn.


def test_lines_that_wait_go_out_together_and_in_order(written):
    """One call in a moment was asked for; a record made meanwhile does not overtake."""
    lines = written()
    due: list[Callable[[], None]] = []
    access = AccessLog(due.append)
    for number in range(3):
        access.write(**{**FIELDS, "request_id": f"r{number}"})
        assert len(due) == 1
    assert lines() == []
    logging.getLogger("x").warning("meanwhile")
    told = objects(lines())
    assert [line.get("requestId") for line in told] == ["r0", "r1", "r2", None]
    due.pop()()  # finds nothing left
    assert len(lines()) == 4


def test_a_bounded_number_of_lines_waits(written):
    """256 go out at once: to format a thousand would hold the loop."""
    lines = written()
    access = AccessLog(lambda _: None)
    for _ in range(255):
        access.write(**FIELDS)
    assert lines() == []
    for _ in range(45):
        access.write(**FIELDS)
    assert len(lines()) == 256
    access.flush()
    assert len(lines()) == 300


@given(
    st.sampled_from(["9f86d081884c7d65", "0" * 64, "eyJ", 'a"b', "r\n", "ä"]),
    st.sampled_from(["203.0.113.7", "2001:db8::1", "unix", "fe80::1%eth0", '"']),
    st.sampled_from([None, "HIT"]),
    st.sampled_from([None, 0.5]),
)
def test_both_ways_to_a_line_tell_the_same(request_id, address, cache, upstream):
    """Put together or encoded as a whole, an entry has the same fields."""
    kind = (logging.INFO, "quiz", "GET", "/api/quiz?token=a", 200, cache, None)
    common = (1756720800.5, 0.000023, "9f86", "203.0.113.7", None, kind)
    entry = (1756720800.501, 0.5, request_id, address, upstream, kind)
    for entries in ([entry], [common, entry], [entry, common]):
        encoded = [json_line(*access_fields(each)) for each in entries]
        assert objects(access_lines(entries).split(b"\n")[:-1]) == [
            json.loads(line) for line in encoded
        ]
