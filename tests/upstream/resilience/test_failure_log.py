import logging

import pytest

from aims_server.errors import FailureCause, UpstreamDropped, UpstreamError
from aims_server.logs import RateLimitedLog
from aims_server.upstream.resilience.failure_log import FailureLog


@pytest.fixture(name="log")
def _log(clock):
    events = RateLimitedLog(logging.getLogger("test.failures"), clock=clock)
    return FailureLog("https://platform.invalid/api/v1", events)


def because(kind, detail="") -> UpstreamDropped:
    """A failure with its cause."""
    error = UpstreamDropped()
    error.cause = FailureCause(kind, detail)
    return error


def test_a_failure_is_told_with_all_that_is_known(log, caplog):
    """Endpoint, cause, detail, host and time, in words and as fields."""
    error = because("certificate", "SSL certificate problem: certificate has expired")
    log.record("quizzes", error, 0.25)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message == (
        "quizzes failed on platform.invalid after 0.250 s: certificate"
        " (SSL certificate problem: certificate has expired)"
    )
    fields = vars(record)
    assert (fields["endpoint"], fields["cause"]) == ("quizzes", "certificate")
    assert (fields["host"], fields["seconds"]) == ("platform.invalid", 0.25)


def test_a_proxy_is_named(caplog):
    """What cannot be reached may be the proxy; its password is not told."""
    events = RateLimitedLog(logging.getLogger("test.failures"))
    base, proxy = "https://platform.invalid/api", "http://us:secret@proxy.invalid:8080"
    FailureLog(base, events, proxy=proxy).record("quizzes", because("refused"), 0.0)
    assert "on platform.invalid through the proxy proxy.invalid after" in caplog.text
    assert "secret" not in caplog.text


def test_each_endpoint_and_cause_is_told_once(log, caplog):
    """A thousand failures of four kinds are four lines."""
    for _ in range(250):
        for endpoint in ("quizzes", "cards"):
            for kind in ("refused", "timeout_tls"):
                log.record(endpoint, because(kind), 1.0)
    assert len(caplog.records) == 4


def test_an_answer_that_cannot_be_read_is_told(log, caplog):
    """What is wrong with it is known from the decoder, which quotes no value."""
    error = UpstreamError()
    error.__cause__ = ValueError("Expected `int`, got `str` - at `$.id`")
    log.record("cards", error, 0.1)
    assert "unusable_answer (Expected `int`" in caplog.text
