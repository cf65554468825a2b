import logging

import pytest

from aims_server.logs import RateLimitedLog
from tests.virtual_time import Clock


@pytest.fixture(name="clock")
def _clock():
    return Clock()


@pytest.fixture(name="log")
def _log(clock, caplog):
    caplog.set_level(logging.DEBUG)
    return RateLimitedLog(logging.getLogger("test.rate_limited"), clock=clock)


def test_the_first_of_each_kind_is_told_at_once(log, caplog):
    """The first is logged with its fields; a second is only counted."""
    for kind in ("a", "b", "a"):
        log.event(kind, logging.WARNING, f"{kind} happened", place=kind)
    assert [record.message for record in caplog.records] == ["a happened", "b happened"]
    assert [vars(record)["place"] for record in caplog.records] == ["a", "b"]


def test_a_count_is_told_each_minute(log, clock, caplog):
    """While events come, their count is logged each minute."""
    for second in range(180):
        log.event("a", logging.WARNING, "it happened")
        log.flush()
        clock.now += 1.0
        assert len(caplog.records) == 1 + second // 60
    log.flush()
    counts = [vars(record).get("count", 1) for record in caplog.records]
    assert sum(counts) == 180
    assert caplog.records[1].message == "it happened: 59 more in the last 60 s"


def test_many_at_once_are_counted(log, clock, caplog):
    """Several events reported at once count like single ones; the latest is told."""
    log.event("a", logging.WARNING, "A", times=3)
    log.event("a", logging.WARNING, "B", times=1000)
    clock.now += 60
    log.flush()
    assert [line.partition(" in ")[0] for line in caplog.messages] == [
        "A",
        "B: 1002 more",
    ]


def test_the_last_time_all_counts_are_told(log, clock, caplog):
    """A worker ends within the minute, and nobody else knows what it has counted."""
    for kind in ("a", "a", "b"):
        log.event(kind, logging.WARNING, f"{kind} happened")
    clock.now += 12.0
    log.flush(last=True)
    *_, told = caplog.messages
    assert told == "a happened: 1 more in the last 12 s"
    assert len(caplog.messages) == 3


def test_nothing_is_told_of_a_quiet_minute(log, clock, caplog):
    """A minute without events logs nothing, and the next event is a first one."""
    log.event("a", logging.INFO, "it happened")
    for _ in range(10):
        clock.now += 60.0
        log.flush()
    log.event("a", logging.INFO, "it happened")
    clock.now += 60.0  # without a flush in between
    log.event("a", logging.INFO, "it happened")
    assert [record.message for record in caplog.records] == ["it happened"] * 3


def test_without_a_flush_the_next_event_tells_the_count(log, clock, caplog):
    """Without a flush the next event of the kind logs the count."""
    for _ in range(3):
        log.event("a", logging.INFO, "it happened")
    clock.now += 90.0
    log.event("a", logging.INFO, "it happened")
    clock.now += 60.0
    log.flush()
    assert [vars(record).get("count", 1) for record in caplog.records] == [1, 2, 1]


def test_kinds_without_end_cost_no_memory(log, caplog):
    """The oldest are forgotten."""
    for kind in range(10_000):
        log.event(kind, logging.INFO, "it happened")
    assert len(log._windows) <= 256
