"""The workers' files, with real processes, killed ones among them."""

import os
import signal

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from aims_server.metrics.recorder import Metrics

from ..counted import LEVELS, read, requests


def in_child(work, *, kill=True):
    """Do `work` in a forked process that then dies of SIGKILL, or ends."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            if kill:
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(0)
        finally:
            os._exit(99)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if kill else 0)


def serve(directory, worker, answers):
    """A worker's whole life: some requests answered, two left under way."""
    metrics = Metrics(worker=worker, directory=str(directory))
    metrics.sample(**LEVELS)
    for _ in range(answers):
        metrics.request_started()
        metrics.request_finished("quiz", "GET", 200, 0.003)
    metrics.request_started()
    metrics.request_started()


def test_workers_are_added_up(make_metrics):
    """One scrape tells counts, levels and buckets of all workers."""
    for worker in range(3):
        metrics = make_metrics(worker)
        metrics.request_started()
        metrics.request_finished("quiz", "GET", 200, 0.003)
        metrics.sample(**LEVELS)
    samples = read(metrics)
    assert samples['aims_requests_total{method="GET",route="quiz",status="200"}'] == 3
    assert samples['aims_request_duration_seconds_count{route="quiz"}'] == 3
    assert samples["aims_upstream_slots_limit"] == 75
    assert {f'aims_breaker_state{{worker="{n}"}}' for n in range(3)} < set(samples)


def test_the_library_reads_the_files_as_we_do(make_metrics, tmp_path):
    """Its own collector finds our figures under the names and labels that we tell."""
    for worker in range(2):
        metrics = make_metrics(worker)
        metrics.request_started()
        metrics.kept_answered("quiz", "GET", 200, 0.003)
        metrics.limited("new")
        metrics.sample(**LEVELS)
    ours = read(metrics)
    build = {series for series in ours if series.startswith("aims_build_info")}
    library = MultiProcessCollector(CollectorRegistry(), path=str(tmp_path))
    text = generate_latest(library).decode()
    theirs = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert {series: float(value) for series, value in theirs.items()} == {
        series: value for series, value in ours.items() if series not in build
    }


def test_values_met_late_are_counted_in_the_workers_own_file(make_metrics, tmp_path):
    """An unlisted label value goes to the files of the worker that met it."""
    first, second = make_metrics(0), make_metrics(1)
    first.limited("new")
    second.limited("new")
    first.limited("new")
    assert read(second)['aims_limited_requests_total{kind="other"}'] == 3
    for path in tmp_path.glob("*_1.db"):
        path.unlink()
    assert read(first)['aims_limited_requests_total{kind="other"}'] == 2


@pytest.mark.process
def test_counts_survive_kill_9_and_are_continued(make_metrics, tmp_path):
    """Ten workers of two numbers end by SIGKILL, and not one answer is missing."""
    for life in range(10):
        in_child(lambda life=life: serve(tmp_path, life % 2, 100 + life))
    samples = read(make_metrics(worker=2))
    assert requests(samples) == sum(100 + life for life in range(10))
    assert samples['aims_request_duration_seconds_count{route="quiz"}'] == 1045
    total = samples['aims_request_duration_seconds_sum{route="quiz"}']
    assert total == pytest.approx(1045 * 0.003)


@pytest.mark.process
def test_a_new_worker_has_nothing_under_way(make_metrics, tmp_path):
    """The gauges of a killed worker are not its successor's."""
    in_child(lambda: serve(tmp_path, 0, 1))
    samples = read(make_metrics(worker=0))
    assert samples["aims_requests_in_progress"] == 0
    assert samples["aims_cache_entries"] == 0
    assert requests(samples) == 1


@pytest.mark.process
def test_a_retired_number_keeps_its_counts_and_no_gauges(make_metrics, tmp_path):
    """After the parent retires it, its gauges are gone and no count is lost."""
    in_child(lambda: serve(tmp_path, 1, 5))
    metrics = make_metrics(worker=0)
    assert read(metrics)["aims_requests_in_progress"] == 2
    Metrics.retire(str(tmp_path), 1)
    Metrics.retire(str(tmp_path), 1)  # twice, or for a number never used: no matter
    samples = read(metrics)
    assert samples["aims_requests_in_progress"] == 0
    assert samples["aims_cache_entries"] == 0
    assert 'aims_worker_resident_bytes{worker="1"}' not in samples
    assert requests(samples) == 5


@pytest.mark.process
def test_restarts_leave_no_files_behind(tmp_path):
    """Three files a worker of one size, after one life as after twenty."""
    in_child(lambda: serve(tmp_path, 0, 1))
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert len(sizes) == 3
    for _ in range(20):
        in_child(lambda: serve(tmp_path, 0, 1))
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == sizes


@pytest.mark.process
def test_scrapes_bear_workers_that_come_and_go(make_metrics, tmp_path):
    """Reading never fails on the files of a worker that starts or is retired."""
    metrics = make_metrics(worker=0)
    pid = os.fork()
    if pid == 0:
        while True:  # until killed
            Metrics(worker=1, directory=str(tmp_path)).close()
            for number in [*range(2, 30), 1] * 4:
                gauges = tmp_path / f"gauge_livesum_{number}.db"
                if not gauges.exists():
                    gauges.hardlink_to(tmp_path / "gauge_livesum_0.db")
                Metrics.retire(str(tmp_path), number)
            for path in tmp_path.glob("*_1.db"):
                path.unlink()
    try:
        counts = {len(metrics.exposition().splitlines()) > 400 for _ in range(100)}
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert counts == {True}


def test_a_full_disk_shows_when_the_worker_starts(tmp_path, monkeypatch):
    """Files have all their room before they are mapped, or the worker does not start.

    A file system cannot be filled here, so the kernel's refusal is made up.
    """

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space left"):
        Metrics(directory=str(tmp_path))
    assert not list(tmp_path.glob("*.db"))
