"""Metrics over real files and real processes, killed ones among them."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from itertools import product

import pytest

from aims_server import errors
from aims_server import metrics as module
from aims_server.metrics import Metrics

LEVELS = {
    "entries": 3,
    "bytes": 4096,
    "evictions": 0,
    "slots_in_use": 2,
    "slots_waiting": 1,
    "slots_limit": 25,
}


@pytest.fixture
def make(tmp_path):
    """Makes Metrics in this process over one directory, and closes them."""
    made = []

    def make(worker=0, **options):
        options.setdefault("directory", str(tmp_path))
        made.append(Metrics(worker=worker, **options))
        return made[-1]

    yield make
    for metrics in made:
        metrics.close()


def read(metrics):
    """The samples of an exposition: {"name": value, 'name{label="x"}': value}."""
    samples = {}
    for line in metrics.exposition().decode().splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            assert series not in samples
            samples[series] = float(value)
    return samples


def requests(samples):
    """How many requests the samples count, whatever their labels."""
    return sum(n for s, n in samples.items() if s.startswith("aims_requests_total{"))


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


# -- what is there before anything happened -----------------------------------


BEFORE_ANY_EVENT = [
    *(
        f'requests_total{{method="{method}",route="{route}",status="{status}"}}'
        for (route, method), statuses in module._DOCUMENTED.items()
        for status in statuses
    ),
    *(
        f'cache_lookups_total{{outcome="{outcome}",resource="{resource}"}}'
        for resource, outcome in product(module._RESOURCES, module._LOOKUPS)
    ),
    *(
        f'upstream_calls_total{{endpoint="{endpoint}",outcome="{outcome}"}}'
        for endpoint, outcome in product(module._ENDPOINTS, module._OUTCOMES)
    ),
    *(f'request_duration_seconds_count{{route="{r}"}}' for r in module._ROUTES),
    *(f'upstream_duration_seconds_sum{{endpoint="{e}"}}' for e in module._ENDPOINTS),
    *(f'upstream_retries_total{{endpoint="{e}"}}' for e in module._ENDPOINTS),
    *(f'limited_requests_total{{kind="{kind}"}}' for kind in module._LIMITS),
    "requests_in_progress",
    "cache_entries",
    "cache_bytes",
    "cache_evictions_total",
    "coalesced_waiters_total",
    "upstream_slots_in_use",
    "upstream_slots_waiting",
    "upstream_slots_limit",
    'breaker_state{worker="0"}',
    "loop_lag_seconds_count",
    'worker_cpu_seconds_total{worker="0"}',
    'worker_resident_bytes{worker="0"}',
    'worker_generation{worker="0"}',
]


@pytest.mark.parametrize("in_files", [True, False])
def test_series_exist_before_their_first_event(make, in_files):
    """All combinations that are documented read 0 in a new worker."""
    samples = read(make() if in_files else make(directory=None))
    found = {name: samples.get(f"aims_{name}") for name in BEFORE_ANY_EVENT}
    assert found == dict.fromkeys(BEFORE_ANY_EVENT, 0)


def test_an_outcome_of_a_call_is_a_code_of_the_error_tree():
    """The words for failed calls are those that clients are told."""
    codes = {thing.code for thing in vars(errors).values() if hasattr(thing, "code")}
    assert set(module._OUTCOMES) - codes == {"ok", "cancelled"}


def test_the_build_is_told(make):
    """A scrape says which version of what runs."""
    (series,) = (s for s in read(make()) if s.startswith("aims_build_info"))
    assert re.search(r'python="3\.\d+\.\d+",tornado="6\.\S+",version="\d', series)


# -- recording -----------------------------------------------------------------


@pytest.mark.parametrize("in_files", [True, False])
def test_events_are_counted_under_their_labels(make, in_files):
    """Each recording method moves its own series."""
    metrics = make(generation=4) if in_files else make(directory=None, generation=4)
    metrics.request_started()
    metrics.request_started()
    metrics.request_finished("login", "POST", 401, 0.02)
    metrics.lookup("quiz", "PENDING")
    metrics.call_finished("cards", "upstream_timeout", 4.0)
    metrics.call_repeated("cards")
    metrics.limited("login")
    metrics.breaker_changed("half-open")
    metrics.loop_lagged(0.2)
    metrics.sample(**LEVELS)
    moved = {
        'aims_requests_total{method="POST",route="login",status="401"}': 1,
        'aims_request_duration_seconds_bucket{le="0.01",route="login"}': 0,
        'aims_request_duration_seconds_bucket{le="0.025",route="login"}': 1,
        'aims_request_duration_seconds_bucket{le="+Inf",route="login"}': 1,
        'aims_request_duration_seconds_sum{route="login"}': 0.02,
        "aims_requests_in_progress": 1,
        'aims_cache_lookups_total{outcome="PENDING",resource="quiz"}': 1,
        "aims_coalesced_waiters_total": 1,
        'aims_upstream_calls_total{endpoint="cards",outcome="upstream_timeout"}': 1,
        'aims_upstream_duration_seconds_sum{endpoint="cards"}': 4,
        'aims_upstream_retries_total{endpoint="cards"}': 1,
        'aims_limited_requests_total{kind="login"}': 1,
        'aims_breaker_state{worker="0"}': 1,
        'aims_loop_lag_seconds_bucket{le="0.1"}': 0,
        'aims_loop_lag_seconds_bucket{le="0.25"}': 1,
        "aims_cache_entries": 3,
        "aims_cache_bytes": 4096,
        "aims_upstream_slots_in_use": 2,
        "aims_upstream_slots_waiting": 1,
        "aims_upstream_slots_limit": 25,
        'aims_worker_generation{worker="0"}': 4,
    }
    samples = read(metrics)
    assert {name: samples[name] for name in moved} == moved


def test_evictions_are_counted_from_the_stores_own_count(make):
    """The store tells how many in all; the counter moves by what is new."""
    metrics = make()
    for evictions in (0, 7, 7, 9):
        metrics.sample(**{**LEVELS, "evictions": evictions})
    assert read(metrics)["aims_cache_evictions_total"] == 9


def test_a_worker_tells_its_memory_processor_time_and_start(make):
    """The process figures are this process's own."""
    metrics = make(worker=2)
    metrics.sample(**LEVELS)
    samples = read(metrics)
    assert 5e6 < samples['aims_worker_resident_bytes{worker="2"}'] < 2e9
    used = os.times()
    cpu = samples['aims_worker_cpu_seconds_total{worker="2"}']
    assert 0 < cpu <= used.user + used.system
    assert samples['aims_worker_start_time_seconds{worker="2"}'] > 1.7e9


def test_labels_take_no_word_that_is_not_listed(make):
    """Ten thousand made-up words add a bounded number of series."""
    metrics = make()
    before = len(read(metrics))
    dice = random.Random(1)
    for number in range(10_000):
        word = f"/api/{number}"
        metrics.request_started()
        metrics.request_finished(
            dice.choice([word, *module._ROUTES]),
            dice.choice([word, "DELETE", *module._METHODS]),
            dice.randrange(-100, 1000),
            0.1,
        )
        metrics.lookup(word, word)
        metrics.call_finished(word, word, 0.1)
        metrics.call_repeated(word)
        metrics.limited(word)
    samples = read(metrics)
    assert before < len(samples) < 2000
    assert requests(samples) == 10_000
    assert not any("/api/" in series for series in samples)
    assert samples['aims_cache_lookups_total{outcome="other",resource="other"}'] == 1e4


def test_a_rare_answer_is_counted_by_method_other_and_its_class(make):
    """A method nobody takes and a status nobody documents still count."""
    metrics = make()
    metrics.request_started()
    metrics.request_finished("login", "BREW", 418, 0.1)
    name = 'aims_requests_total{method="OTHER",route="login",status="4xx"}'
    assert read(metrics)[name] == 1


# -- many workers, many lives ---------------------------------------------------


def test_workers_are_added_up(make):
    """One scrape tells counts, levels and buckets of all workers."""
    for worker in range(3):
        metrics = make(worker)
        metrics.request_started()
        metrics.request_finished("quiz", "GET", 200, 0.003)
        metrics.sample(**LEVELS)
    samples = read(metrics)
    assert samples['aims_requests_total{method="GET",route="quiz",status="200"}'] == 3
    assert samples['aims_request_duration_seconds_count{route="quiz"}'] == 3
    assert samples["aims_upstream_slots_limit"] == 75
    assert {f'aims_breaker_state{{worker="{n}"}}' for n in range(3)} < set(samples)


def test_words_met_late_are_counted_in_their_own_slot(make, tmp_path):
    """An unlisted word goes to the files of the worker that met it."""
    first, second = make(0), make(1)
    first.limited("new")
    second.limited("new")
    first.limited("new")
    assert read(second)['aims_limited_requests_total{kind="other"}'] == 3
    for path in tmp_path.glob("*_1.db"):
        path.unlink()
    assert read(first)['aims_limited_requests_total{kind="other"}'] == 2


@pytest.mark.process
def test_counts_survive_kill_9_and_go_on_in_the_slot(make, tmp_path):
    """Ten lives end by SIGKILL in two slots, and not one answer is missing."""
    for life in range(10):
        in_child(lambda life=life: serve(tmp_path, life % 2, 100 + life))
    samples = read(make(worker=2))
    assert requests(samples) == sum(100 + life for life in range(10))
    assert samples['aims_request_duration_seconds_count{route="quiz"}'] == 1045
    total = samples['aims_request_duration_seconds_sum{route="quiz"}']
    assert total == pytest.approx(1045 * 0.003)


@pytest.mark.process
def test_a_newcomer_has_nothing_under_way(make, tmp_path):
    """What a killed worker left under way or full is not its successor's."""
    in_child(lambda: serve(tmp_path, 0, 1))
    samples = read(make(worker=0))
    assert samples["aims_requests_in_progress"] == 0
    assert samples["aims_cache_entries"] == 0
    assert requests(samples) == 1


@pytest.mark.process
def test_a_retired_slot_keeps_its_counts_and_no_levels(make, tmp_path):
    """The parent makes a slot that stays empty read 0, and loses no count."""
    in_child(lambda: serve(tmp_path, 1, 5))
    metrics = make(worker=0)
    assert read(metrics)["aims_requests_in_progress"] == 2
    Metrics.retire(str(tmp_path), 1)
    Metrics.retire(str(tmp_path), 1)  # twice, or for a slot never used: no matter
    samples = read(metrics)
    assert samples["aims_requests_in_progress"] == 0
    assert samples["aims_cache_entries"] == 0
    assert 'aims_worker_resident_bytes{worker="1"}' not in samples
    assert requests(samples) == 5


@pytest.mark.process
def test_restarts_leave_no_files_behind(tmp_path):
    """Three files a slot of one size, after one life as after twenty."""
    in_child(lambda: serve(tmp_path, 0, 1))
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert len(sizes) == 3
    for _ in range(20):
        in_child(lambda: serve(tmp_path, 0, 1))
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == sizes


@pytest.mark.process
def test_scrapes_bear_workers_that_come_and_go(make, tmp_path):
    """Reading never fails on the files of a slot that is being born or retired."""
    metrics = make(worker=0)
    pid = os.fork()
    if pid == 0:
        while True:  # until killed
            Metrics(worker=1, directory=str(tmp_path)).close()
            for slot in [*range(2, 30), 1] * 4:
                gauges = tmp_path / f"gauge_livesum_{slot}.db"
                if not gauges.exists():
                    gauges.hardlink_to(tmp_path / "gauge_livesum_0.db")
                Metrics.retire(str(tmp_path), slot)
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


# -- telling --------------------------------------------------------------------


def test_promtool_finds_nothing_to_say(make):
    """Names, types and help texts are as Prometheus wants them."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    metrics = make()
    metrics.limited("something new")
    check = subprocess.run(
        [promtool, "check", "metrics"],
        input=metrics.exposition(),
        capture_output=True,
        check=False,
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")


def test_both_ways_of_keeping_tell_the_same_families(make):
    """One process without files exposes what many with files do."""

    def types(metrics):
        lines = metrics.exposition().decode().splitlines()
        return sorted(line for line in lines if line.startswith("#"))

    assert types(make()) == types(make(directory=None))


def test_the_summary_adds_up_all_workers(make):
    """The JSON form tells requests, errors, latency, cache, calls and memory."""
    for worker in range(2):
        metrics = make(worker)
        for status in (200, 200, 401, 503):
            metrics.request_started()
            metrics.request_finished("quiz", "GET", status, 0.2)
        metrics.request_started()
        metrics.lookup("quiz", "HIT")
        metrics.lookup("attendance", "MISS")
        metrics.call_finished("quizzes", "ok", 0.2)
        metrics.call_repeated("quizzes")
        metrics.breaker_changed("open")
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


def test_quantiles_are_estimated_within_their_bucket(make):
    """Latency of the students' endpoints alone, linear between two bounds."""
    metrics = make()
    assert json.loads(metrics.summary())["latencySeconds"] == {
        "p50": None,
        "p90": None,
        "p99": None,
    }
    for seconds, times in ((0.2, 80), (0.4, 10), (60.0, 10)):
        for _ in range(times):
            metrics.request_finished("attendance", "GET", 200, seconds)
    for _ in range(1000):
        metrics.request_finished("health", "GET", 200, 0.0001)
    quantiles = json.loads(metrics.summary())["latencySeconds"]
    assert quantiles["p50"] == pytest.approx(0.1 + 0.15 * 50 / 80)
    assert quantiles["p90"] == pytest.approx(0.5)
    assert quantiles["p99"] == 10  # beyond the last bound nothing is known


def test_importing_touches_no_files(tmp_path):
    """The parent may import it whatever the environment says."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", "import aims_server.metrics"],
        env=environment,
        check=True,
    )
    assert not list(tmp_path.iterdir())
