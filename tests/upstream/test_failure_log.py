import logging

import pytest

from aims_server.errors import (
    FailureCause,
    UpstreamDropped,
    UpstreamError,
    UpstreamRejected,
)
from aims_server.logs import RateLimitedLog
from aims_server.upstream.failure_log import FailureLog


@pytest.fixture(name="log")
def _log(clock):
    events = RateLimitedLog(logging.getLogger("test.failures"), clock=clock)
    return FailureLog("https://platform.invalid/api/v1", events, clock=clock)


def failing(error, clock, seconds=0.25):
    """A call that fails so after a while."""

    async def attempt(_):
        clock.now += seconds
        raise error

    return attempt


def because(kind, detail="") -> UpstreamDropped:
    """A failure with its cause."""
    error = UpstreamDropped()
    error.cause = FailureCause(kind, detail)
    return error


@pytest.mark.gen_test
async def test_a_failure_is_told_with_all_that_is_known(log, clock, caplog):
    """Endpoint, cause, detail, host and time, in words and as fields."""
    error = because("certificate", "SSL certificate problem: certificate has expired")
    with pytest.raises(UpstreamDropped):
        await log.watched("quizzes", failing(error, clock))(5.0)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message == (
        "quizzes failed on platform.invalid after 0.250 s: certificate"
        " (SSL certificate problem: certificate has expired)"
    )
    fields = vars(record)
    assert (fields["endpoint"], fields["cause"]) == ("quizzes", "certificate")
    assert (fields["host"], fields["seconds"]) == ("platform.invalid", 0.25)


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


@pytest.mark.gen_test
async def test_what_is_no_failure_of_the_platform_is_not_told(log, clock, caplog):
    """A request that was turned down, an answer."""
    with pytest.raises(UpstreamRejected):
        await log.watched("cards", failing(UpstreamRejected(), clock))(5.0)

    async def answered(seconds):
        return seconds

    assert await log.watched("cards", answered)(5.0) == 5.0
    assert not caplog.records
