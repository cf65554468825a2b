"""What the parent tells of workers that end."""

import signal

import pytest

from aims_server.process.reports import Reports
from aims_server.process.systemd import Notifier


@pytest.fixture(name="reports")
def _reports():
    """To no systemd."""
    return Reports(Notifier({}))


def test_every_reason_of_failed_starts_is_told_once(reports, caplog):
    """The line that gives up refers to all of them."""
    lacking = BlockingIOError(11, "Resource temporarily unavailable")
    for why in (lacking, 1, lacking, 1, -signal.SIGKILL):
        reports.not_started(0, why)
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "Resource temporarily unavailable (raise TasksMax= or `ulimit -u`)",
        "exit status 1",
        "SIGKILL",
    ]


def test_workers_that_die_in_a_hurry_are_told_once(reports, caplog):
    """As by a limit of memory that each exceeds as soon as it serves; the others follow
    as a count a minute later. One that has served for longer is told each time.
    """
    for seconds in (9.0, 0.1, 0.1, 0.1, 9.0):
        reports.died(0, -signal.SIGKILL, seconds)
    assert [message.partition(" after ")[2][:3] for message in caplog.messages] == [
        "9 s",
        "0 s",
        "9 s",
    ]


def test_a_signal_without_a_name_is_told_too(reports, caplog):
    """Most real-time signals have none; the parent must survive all of them."""
    reports.died(0, -(signal.SIGRTMIN + 3), 1.0)
    assert f"Worker 0 died (signal {signal.SIGRTMIN + 3})" in caplog.text
