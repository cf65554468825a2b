"""Metrics: what counts where, and how it is exposed."""

import os
import random
import re
import shutil
import subprocess
import sys
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.cache import Found, Outcome
from aims_server.metrics import labels
from aims_server.metrics.recorder import Metrics
from aims_server.pages import PAGES

from ..counted import LEVELS, read, requests

BEFORE_ANY_EVENT = [
    *(
        f'requests_total{{method="{method}",route="{route}",status="{status}"}}'
        for (route, method), statuses in labels.DOCUMENTED.items()
        for status in statuses
    ),
    *(
        f'cache_lookups_total{{outcome="{outcome}",resource="{resource}"}}'
        for resource, outcome in product(labels.RESOURCES, labels.LOOKUPS)
    ),
    *(
        f'upstream_calls_total{{endpoint="{endpoint}",outcome="{outcome}"}}'
        for endpoint, outcome in product(labels.UPSTREAM_ENDPOINTS, labels.OUTCOMES)
    ),
    *(f'request_duration_seconds_count{{route="{r}"}}' for r in labels.ROUTES),
    *(
        f'upstream_duration_seconds_sum{{endpoint="{e}"}}'
        for e in labels.UPSTREAM_ENDPOINTS
    ),
    *(f'upstream_retries_total{{endpoint="{e}"}}' for e in labels.UPSTREAM_ENDPOINTS),
    *(
        f'upstream_hedges_total{{end="{end}",endpoint="{e}"}}'
        for e, end in product(labels.UPSTREAM_ENDPOINTS, labels.HEDGE_ENDS)
    ),
    *(f'limited_requests_total{{kind="{kind}"}}' for kind in labels.LIMITS),
    "requests_in_progress",
    "cache_entries",
    "cache_bytes",
    "cache_evictions_total",
    "upstream_slots_in_use",
    "upstream_slots_waiting",
    "upstream_slots_limit",
    *(
        f'breaker_state{{endpoint="{endpoint}",worker="0"}}'
        for endpoint in labels.UPSTREAM_ENDPOINTS
    ),
    "loop_lag_seconds_count",
    'worker_cpu_seconds_total{worker="0"}',
    'worker_resident_bytes{worker="0"}',
    'worker_generation{worker="0"}',
    'worker_leaving{worker="0"}',
]


def test_series_exist_before_their_first_event():
    """All combinations that are documented read 0 in a new worker."""
    samples = read(Metrics())
    found = {name: samples.get(f"aims_{name}") for name in BEFORE_ANY_EVENT}
    assert found == dict.fromkeys(BEFORE_ANY_EVENT, 0)


def test_every_outcome_of_the_cache_has_its_label():
    """The labels list what the cache tells, which may not be imported there."""
    assert tuple(Outcome) == labels.LOOKUPS
    assert tuple(Found) == labels.FOUND


def test_the_build_is_told():
    """A scrape says which version of what runs."""
    (series,) = (s for s in read(Metrics()) if s.startswith("aims_build_info"))
    assert re.search(r'python="3\.\d+\.\d+",tornado="6\.\S+",version="\d', series)


def test_events_are_counted_under_their_labels():
    """Each recording method moves its own series."""
    metrics = Metrics(generation=4)
    metrics.request_started()
    metrics.request_started()
    metrics.request_finished("login", "POST", 401, 0.02)
    metrics.lookup("quiz", "PENDING")
    metrics.upstream.call_finished("cards", "upstream_timeout", 4.0)
    metrics.upstream.call_repeated("cards")
    metrics.limited("login")
    metrics.upstream.breaker_changed("cards", "half-open")
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
        'aims_upstream_calls_total{endpoint="cards",outcome="upstream_timeout"}': 1,
        'aims_upstream_duration_seconds_sum{endpoint="cards"}': 4,
        'aims_upstream_retries_total{endpoint="cards"}': 1,
        'aims_limited_requests_total{kind="login"}': 1,
        'aims_breaker_state{endpoint="cards",worker="0"}': 1,
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


def test_a_bound_belongs_to_its_bucket():
    """Prometheus' ``le`` is less or equal."""
    metrics = Metrics()
    metrics.request_finished("quiz", "GET", 200, 0.01)
    samples = read(metrics)
    bucket = 'aims_request_duration_seconds_bucket{{le="{}",route="quiz"}}'
    assert [samples[bucket.format(le)] for le in ("0.005", "0.01")] == [0, 1]


@settings(max_examples=30)
@given(
    answers=st.lists(
        st.tuples(
            st.sampled_from([*(page.name for page in PAGES), "new-page"]),
            st.sampled_from([200, 304, 418]),
            st.floats(0, 20) | st.sampled_from([0.001, 0.0025, 1, 10]),
        ),
        max_size=20,
    )
)
def test_a_kept_answer_counts_as_the_three_calls_do(answers):
    """``kept_answered`` moves the series of a hit that was begun and finished."""
    at_once, in_steps = Metrics(), Metrics()
    for resource, status, seconds in answers:
        at_once.kept_answered(resource, "GET", status)(seconds)
        in_steps.request_started()
        in_steps.lookup(resource, "HIT")
        in_steps.request_finished(resource, "GET", status, seconds)
    start = 'aims_worker_start_time_seconds{worker="0"}'
    assert {**read(at_once), start: 0} == {**read(in_steps), start: 0}


def test_evictions_are_counted_from_the_stores_own_count():
    """The store tells how many in all; the counter moves by what is new."""
    metrics = Metrics()
    for evictions in (0, 7, 7, 9):
        metrics.sample(**{**LEVELS, "evictions": evictions})
    assert read(metrics)["aims_cache_evictions_total"] == 9


def test_a_worker_tells_its_memory_processor_time_and_start():
    """The process figures are this process's own, however often they are sampled."""
    metrics = Metrics(worker=2)
    for _ in range(3):
        metrics.sample(**LEVELS)
    samples = read(metrics)
    assert 5e6 < samples['aims_worker_resident_bytes{worker="2"}'] < 2e9
    used = os.times()
    cpu = samples['aims_worker_cpu_seconds_total{worker="2"}']
    assert 0 < cpu <= used.user + used.system
    assert samples['aims_worker_start_time_seconds{worker="2"}'] > 1.7e9


def test_labels_take_no_word_that_is_not_listed():
    """Ten thousand made-up words add a bounded number of series."""
    metrics = Metrics()
    before = len(read(metrics))
    dice = random.Random(1)
    for number in range(10_000):
        word = f"/api/{number}"
        metrics.request_started()
        metrics.request_finished(
            dice.choice([word, *labels.ROUTES]),
            dice.choice([word, "DELETE", *labels.METHODS]),
            dice.randrange(-100, 1000),
            0.1,
        )
        metrics.lookup(word, word)
        metrics.upstream.call_finished(word, word, 0.1)
        metrics.upstream.call_repeated(word)
        metrics.limited(word)
    samples = read(metrics)
    assert before < len(samples) < 2000
    assert requests(samples) == 10_000
    assert not any("/api/" in series for series in samples)
    assert samples['aims_cache_lookups_total{outcome="other",resource="other"}'] == 1e4


def test_a_rare_answer_is_counted_by_method_other_and_its_class():
    """A method nobody takes and a status nobody documents still count."""
    metrics = Metrics()
    metrics.request_started()
    metrics.request_finished("login", "BREW", 418, 0.1)
    name = 'aims_requests_total{method="OTHER",route="login",status="4xx"}'
    assert read(metrics)[name] == 1


def test_a_client_that_has_left_is_no_refusal():
    """The alert of refused logins counts other statuses of 4xx."""
    metrics = Metrics()
    metrics.request_started()
    metrics.request_finished("login", "POST", 499, 0.1)
    name = 'aims_requests_total{method="POST",route="login",status="499"}'
    assert read(metrics)[name] == 1


def test_promtool_finds_nothing_to_say():
    """Names, types and help texts are as Prometheus wants them."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    metrics = Metrics()
    metrics.limited("something new")
    check = subprocess.run(
        [promtool, "check", "metrics"],
        input=metrics.exposition(),
        capture_output=True,
        check=False,
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")


def test_what_a_scrape_needs_is_imported_apart_from_it():
    """Imports hold the loop: they are done before, in a thread."""
    program = (
        "import asyncio, sys; from aims_server.process.server import serve;"
        "from aims_server.metrics import Metrics;"
        "metrics = Metrics(); asyncio.run(metrics.prepare());"
        "before = set(sys.modules);"
        "metrics.exposition(); metrics.summary();"
        "assert set(sys.modules) == before, set(sys.modules) - before"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_no_series_is_there_that_can_never_count():
    """A page that takes no POST has none answered with 200, not even a zero."""
    text = Metrics().exposition().decode()
    assert 'method="POST",route="attendance",status="200"' in text
    for page in ("quiz", "all-attendance"):
        assert f'method="POST",route="{page}",status="200"' not in text
