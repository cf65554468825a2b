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


def test_a_signal_without_a_name_is_told_too(reports, caplog):
    """Most real-time signals have none; the parent must survive all of them."""
    reports.died(0, -(signal.SIGRTMIN + 3), 1.0)
    assert f"Worker 0 died (signal {signal.SIGRTMIN + 3})" in caplog.text
