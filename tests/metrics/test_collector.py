"""The memory of all workers' metrics, with real processes, killed ones among them."""

import os
import signal
from itertools import product

import pytest

from aims_server.metrics import Metrics, MetricsMemory, labels
from aims_server.primitives import WORKER_NUMBERS

from ..children import exit_status, fork
from ..counted import LEVELS, read, requests


def in_child(work):
    """Do `work` in a forked process that then dies of SIGKILL."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(99)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def serve(memory, worker, answers):
    """A worker's whole life: some requests answered, two left under way."""
    metrics = Metrics(worker=worker, memory=memory)
    metrics.sample(**LEVELS)
    for _ in range(answers):
        metrics.request_started()
        metrics.request_finished("quiz", "GET", 200, 0.003)
    metrics.request_started()
    metrics.request_started()


@pytest.fixture(name="memory")
def _memory():
    return MetricsMemory(workers=30)


def test_workers_are_added_up(memory):
    """One scrape tells counts, levels and buckets of all workers."""
    for worker in range(3):
        metrics = Metrics(worker=worker, memory=memory)
        metrics.request_started()
        metrics.request_finished("quiz", "GET", 200, 0.003)
        metrics.sample(**LEVELS)
    samples = read(metrics)
    assert samples['aims_requests_total{method="GET",route="quiz",status="200"}'] == 3
    assert samples['aims_request_duration_seconds_count{route="quiz"}'] == 3
    assert samples["aims_upstream_slots_limit"] == 75
    for n in range(3):
        assert f'aims_breaker_state{{endpoint="cards",worker="{n}"}}' in samples


def test_values_met_late_are_counted_by_the_worker_that_met_them(memory):
    """An unlisted label value counts as "other", for all workers together."""
    first = Metrics(worker=0, memory=memory)
    second = Metrics(worker=1, memory=memory)
    first.limited("new")
    second.limited("new")
    first.limited("new")
    assert read(second)['aims_limited_requests_total{kind="other"}'] == 3


@pytest.mark.process
def test_counts_survive_kill_9_and_are_continued(memory):
    """Ten workers of two numbers end by SIGKILL, and not one answer is missing."""
    for life in range(10):
        in_child(lambda life=life: serve(memory, life % 2, 100 + life))
    samples = read(Metrics(worker=2, memory=memory))
    assert requests(samples) == sum(100 + life for life in range(10))
    assert samples['aims_request_duration_seconds_count{route="quiz"}'] == 1045
    total = samples['aims_request_duration_seconds_sum{route="quiz"}']
    assert total == pytest.approx(1045 * 0.003)


@pytest.mark.process
def test_a_new_worker_has_nothing_under_way(memory):
    """The gauges of a killed worker are not its successor's."""
    in_child(lambda: serve(memory, 0, 1))
    samples = read(Metrics(worker=0, memory=memory))
    assert samples["aims_requests_in_progress"] == 0
    assert samples["aims_cache_entries"] == 0
    assert requests(samples) == 1


@pytest.mark.process
def test_a_retired_number_keeps_its_counts_and_no_gauges(memory):
    """After the parent retires it, its gauges are gone and no count is lost."""
    in_child(lambda: serve(memory, 1, 5))
    metrics = Metrics(worker=0, memory=memory)
    assert read(metrics)["aims_requests_in_progress"] == 2
    memory.retire(1)
    memory.retire(1)  # twice, or for a number never used: no matter
    memory.retire(7)
    samples = read(metrics)
    assert samples["aims_requests_in_progress"] == 0
    assert samples["aims_cache_entries"] == 0
    assert 'aims_worker_resident_bytes{worker="1"}' not in samples
    assert requests(samples) == 5


@pytest.mark.process
def test_scrapes_bear_workers_that_come_and_go(memory):
    """Reading never fails on the values of a worker that starts or is retired."""
    metrics = Metrics(worker=0, memory=memory)

    def come_and_go():
        while True:  # until killed
            for number in range(1, 30):
                Metrics(worker=number, memory=memory).sample(**LEVELS)
                memory.retire(number)

    pid = fork(come_and_go)
    try:
        counts = {len(metrics.exposition().splitlines()) > 400 for _ in range(30)}
    finally:
        os.kill(pid, signal.SIGKILL)
        exit_status(pid)
    assert counts == {True}


def test_there_is_room_for_more_metrics_than_there_are():
    """Every label combination there can be leaves a quarter of the memory."""
    memory = MetricsMemory(workers=1)
    metrics = Metrics(worker=0, memory=memory)
    for route, method, status in product(
        (*labels.ROUTES, "new"), (*labels.METHODS, "new"), range(100, 600)
    ):
        metrics.request_finished(route, method, status, 1.0)
    for known, other in product((*labels.RESOURCES, "new"), (*labels.LOOKUPS, "new")):
        metrics.lookup(known, other)
    for known, other in product(
        (*labels.UPSTREAM_ENDPOINTS, "new"), (*labels.OUTCOMES, "new")
    ):
        metrics.upstream.call_finished(known, other, 1.0)
    for kind in (*labels.LIMITS, "new"):
        metrics.limited(kind)
    for kind, values in memory.open(0).items():
        assert values.free_bytes > len(memory._part(kind, 0)) / 4, kind


def test_all_workers_there_may_be_have_room():
    """WORKERS is 256 at most, and a roll has as many again and one."""
    assert WORKER_NUMBERS >= 2 * 256 + 1
