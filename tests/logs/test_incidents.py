"""What the service does to protect itself is told with its numbers."""

import io
import json
import logging

import pytest

from aims_server.logs import IncidentLog, RateLimitedLog, configure_logging

LIMITS = {
    "student": "RATE_LIMIT_PER_MINUTE=100",
    "address": "RATE_LIMIT_PER_ADDRESS_PER_MINUTE=3000",
    "login": "LOGIN_LIMIT_PER_MINUTE=10",
}


class Told:
    """An incident log on a clock of its own, and the lines that it wrote."""

    def __init__(self) -> None:
        self.now = 0.0
        self._stream = io.StringIO()
        configure_logging("info", "json", self._stream)
        log = RateLimitedLog(logging.getLogger("test"), clock=lambda: self.now)
        self.log = IncidentLog(log, LIMITS)

    def lines(self) -> list[dict[str, object]]:
        """All lines."""
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]


@pytest.fixture(name="told")
def _told():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Told()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.parametrize("kind", LIMITS)
def test_a_limit_is_told_once_a_minute_with_its_setting(told, kind):
    """A thousand refusals are one line, then a count."""
    for _ in range(1000):
        told.log.limited(kind, "192.0.2.1", "9f86d081")
    told.now = 61.0
    told.log.limited(kind, "192.0.2.1", "9f86d081")
    first, count, *_ = told.lines()
    assert first["limit"] == kind
    assert (first["address"], first["requestId"]) == ("192.0.2.1", "9f86d081")
    assert first["level"] == "warning"
    assert first["message"] == (
        f"A request from 192.0.2.1 was refused by {LIMITS[kind]}"
    )
    assert count["count"] == 999


@pytest.mark.parametrize(
    ("connections", "why"),
    [(36, "all 36 that a worker has files for are open"), (20, "its address has 18")],
)
def test_a_refused_connection_is_told_with_the_bound_that_it_met(
    told, connections, why
):
    """The log names the worker's limit or the address's."""
    told.log.connection_refused(
        "192.0.2.1", connections=connections, places=36, each=18
    )
    (line,) = told.lines()
    assert line["message"].startswith(f"A connection from 192.0.2.1 was refused: {why}")
    assert (line["limit"], line["address"]) == ("connections", "192.0.2.1")


def test_each_state_of_a_circuit_is_told_with_its_endpoint(told):
    """Open, half-open and closed again."""
    for state in ("open", "half-open", "closed"):
        told.log.circuit_changed("quizzes", state)
    assert [(line["state"], line["level"]) for line in told.lines()] == [
        ("open", "warning"),
        ("half-open", "warning"),
        ("closed", "info"),
    ]
    assert {line["endpoint"] for line in told.lines()} == {"quizzes"}


def test_a_platform_too_slow_for_all_is_told_once_with_its_time(told):
    """They come by the hundred. Not each is a 503: a page may be given in part. The
    time is that of calls that ended: while others hang it is short, and no cause.
    """
    for seconds in (2.54, 2.6):
        told.log.overloaded(seconds)
    (line,) = told.lines()
    assert "too late; calls that ended lately took 2.5 s" in line["message"]
    assert "503" not in line["message"]
    assert line["level"] == "warning"


def test_what_left_before_is_not_told_again(told):
    """The store counts from its start; a cache that is calm since then is not full."""
    calm = {"evictions": 7, "entries": 10, "bytes": 2**20, "waiting": 0, "calls": 50}
    for told.now in (0.0, 1.0, 61.0, 122.0):
        told.log.sampled(**calm)
    assert len(told.lines()) == 1


def test_a_full_cache_and_a_line_are_told_with_their_numbers(told):
    """A full cache and a queue are logged with their figures, and only then."""
    calm = {"evictions": 7, "entries": 10, "bytes": 2**20, "waiting": 0, "calls": 50}
    told.log.sampled(**{**calm, "evictions": 0})
    assert told.lines() == []
    told.log.sampled(**calm)
    told.log.sampled(**calm)
    told.log.sampled(**{**calm, "waiting": 3})
    cache, line = (str(line["message"]) for line in told.lines())
    assert cache == (
        "The cache is full: 7 answers left for others within a second"
        " (CACHE_MAX_MB; 10 kept in 1.0 MB)"
    )
    assert "All 50 calls" in line
    assert "3 wait" in line
