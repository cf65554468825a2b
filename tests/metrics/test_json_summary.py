"""The JSON form of the figures."""

import json

import pytest

from aims_server.metrics import Metrics, MetricsMemory
from aims_server.metrics.instruments import Instruments

from ..counted import LEVELS


def test_the_summary_adds_up_all_workers():
    """The JSON form tells requests, errors, latency, cache, calls and memory."""
    memory = MetricsMemory(workers=2)
    for worker in range(2):
        metrics = Metrics(worker=worker, memory=memory)
        for status in (200, 304, 401, 503):
            metrics.request_started()
            metrics.request_finished("quiz", "GET", status, 0.2)
        metrics.request_started()
        metrics.lookup("quiz", "HIT")
        metrics.lookup("attendance", "MISS")
        metrics.upstream.call_finished("quizzes", "ok", 0.2)
        metrics.upstream.call_repeated("quizzes")
        metrics.upstream.breaker_changed("cards", "open")
        metrics.limited("address")
        metrics.sample(**LEVELS)
    told = json.loads(metrics.summary())
    assert told["requests"]["total"] == 8
    assert told["requests"]["byRoute"]["quiz"] == 8
    assert (told["requests"]["inProgress"], told["requests"]["limited"]) == (2, 2)
    assert told["errors"] == {"client": 2, "server": 2}
    assert told["cache"] == {
        "hit": 2,
        "miss": 2,
        "stale": 0,
        "pending": 0,
        "entries": 6,
        "bytes": 8192,
        "evictions": 0,
    }
    assert told["upstream"]["calls"]["ok"] == 2
    assert told["upstream"]["retries"] == 2
    assert set(told["workers"]) == {"0", "1"}
    assert told["workers"]["1"]["residentBytes"] > 5e6
    assert told["workers"]["1"]["breaker"] == "open"
    assert told["workers"]["1"]["breakers"]["cards"] == "open"
    assert told["workers"]["1"]["breakers"]["login"] == "closed"


def test_a_worker_that_is_just_starting_spoils_no_summary():
    """It makes its metrics one after the other, while others are asked for theirs."""
    memory = MetricsMemory(workers=2)
    metrics = Metrics(worker=0, memory=memory)
    make = Instruments(memory.open(1))
    make.gauge("worker_resident_bytes", "Memory in use.", worker="1")
    assert list(json.loads(metrics.summary())["workers"]) == ["0"]


@pytest.mark.parametrize(
    ("leaving", "state"),
    [((), "serving"), ((1,), "replacing"), ((0, 1), "draining")],
)
def test_the_state_is_that_of_all_workers(leaving, state):
    """A service stops when all of them do."""
    memory = MetricsMemory(workers=2)
    workers = [Metrics(worker=number, memory=memory) for number in range(2)]
    for metrics in workers:
        metrics.sample(**LEVELS)
    for number in leaving:
        workers[number].leaving(replaced=False)
    told = json.loads(workers[0].summary())
    assert told["state"] == state
    each = [told["workers"][str(number)]["leaving"] for number in range(2)]
    assert each == [number in leaving for number in range(2)]


def test_a_replaced_worker_adds_nothing_to_the_limit():
    """The calls that it still makes are among those that its successor may."""
    memory = MetricsMemory(workers=2)
    old, new = [Metrics(worker=number, memory=memory) for number in range(2)]
    old.leaving(replaced=True)
    for metrics in (old, new):
        metrics.sample(**LEVELS)
    upstream = json.loads(new.summary())["upstream"]
    assert (upstream["inUse"], upstream["limit"]) == (4, 25)


def test_an_endpoints_circuit_is_that_of_the_worst_worker():
    """Wherever that stands among the workers."""
    memory = MetricsMemory(workers=3)
    workers = [Metrics(worker=number, memory=memory) for number in range(3)]
    workers[1].upstream.breaker_changed("cards", "open")
    endpoints = json.loads(workers[0].summary())["upstream"]["endpoints"]
    assert endpoints["cards"]["breaker"] == "open"
    assert endpoints["login"]["breaker"] == "closed"


def test_quantiles_are_estimated_within_their_bucket():
    """Latency of the students' endpoints alone, linear between two bounds."""
    metrics = Metrics()
    assert json.loads(metrics.summary())["latencySeconds"] == {
        "p50": None,
        "p90": None,
        "p99": None,
    }
    metrics.loop_lagged(0.0002)
    assert json.loads(metrics.summary())["loopLagSeconds"]["p50"] == 0.0005
    for seconds, times in ((0.2, 80), (0.4, 10), (60.0, 10)):
        for _ in range(times):
            metrics.request_finished("attendance", "GET", 200, seconds)
    for _ in range(1000):
        metrics.request_finished("health", "GET", 200, 0.0001)
    quantiles = json.loads(metrics.summary())["latencySeconds"]
    assert quantiles["p50"] == pytest.approx(0.1 + 0.15 * 50 / 80)
    assert quantiles["p90"] == pytest.approx(0.5)
    assert quantiles["p99"] == 10  # beyond the last bound nothing is known
