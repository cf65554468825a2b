"""One gathering for all: workers of a machine, machines with a store, and what becomes
of it when one of them dies.
"""

import contextlib
import random
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from .isolation import crossed
from .kernel import cpu_seconds
from .load import (
    Answers,
    Request,
    drive,
    median,
    page_request,
    percentile,
    try_asking,
)
from .machines import (
    College3000,
    SecureStore,
    Store,
    WatchedStore,
    college,
    kill_service,
    kill_worker,
    machines,
    service,
)
from .processes import Server
from .report import Row, at_most
from .turns import Pace, beside, warm

STUDENTS = 150
ASKED = 6  # times at each service, at once
REFUSALS = 20


def sharing(pace: Pace) -> Iterator[Row]:
    """Gatherings per student when all services are asked for all students' quizzes at
    once, 200 ms a call; median, 95 % and longest time of an answer; what was lost with
    whom was killed. Then refusals, answers crossed, and what a store costs who has one.
    """
    with college() as source:
        for workers in (1, 4, 8):
            with service(source, workers) as server:
                yield _gathered(f"{workers} workers", source, [server], 1.0)
        for workers in (4, 8):
            with service(source, workers) as server:
                doing = partial(kill_worker, server)
                what = f"{workers} workers, one killed"
                yield _gathered(what, source, [server], 1.5, doing)
        yield from _ill(source)
        yield from _refusals(source)
        yield crossed(source, 60_000)
        yield from _frozen(source)
        yield from _costs(source, pace)


def _ill(source: College3000) -> Iterator[Row]:
    befalls: dict[str, tuple[float, Callable[[list[Server], Store], object]]] = {
        "": (1.02, lambda servers, store: None),
        ", a worker killed": (1.5, lambda servers, store: kill_worker(servers[0])),
        ", a service killed": (2.0, lambda servers, store: kill_service(servers[0])),
        ", store flushed": (2.0, lambda servers, store: store.flush()),
        ", store frozen": (3.02, lambda servers, store: store.freeze()),
        ", store killed and back": (3.02, lambda servers, store: store.restart()),
        ", store full (noeviction)": (3.02, lambda servers, store: store.fill()),
    }
    for name, (most, befall) in befalls.items():
        with machines(source, 3, 2) as (servers, store):
            yield _gathered(
                f"3 services x 2 workers{name}",
                source,
                servers,
                most,
                partial(befall, servers, store),
                gone=1 if "service killed" in name else 0,
            )
    with machines(source, 3, 2, SecureStore) as (servers, _):
        yield _gathered("3 services x 2 workers, TLS", source, servers, 1.02)
    with machines(source, 3, 2, WatchedStore) as (servers, watched):
        what = "3 services x 2 workers, store failing over"
        befall = watched.fail_over  # type: ignore[attr-defined]  # it is a WatchedStore
        yield _gathered(what, source, servers, 3.02, befall)
        time.sleep(8.0)  # each worker's next ping of the store, and the sentinel
        yield _gathered("... and after it", source, servers, 1.02)


def _gathered(
    what: str,
    source: College3000,
    servers: Sequence[Server],
    most: float,
    befall: Callable[[], object] = lambda: None,
    gone: int = 0,
) -> Row:
    """Ask all servers for all students at once; ``befall`` happens in the middle, and
    leaves the first ``gone`` servers out of the account.
    """
    requests = [
        page_request("quiz", token)
        for token, _ in source.newcomers(STUDENTS)
        for _ in range(ASKED)
    ]
    random.Random(1).shuffle(requests)
    source.calls()
    timer = threading.Timer(0.15, befall)
    timer.start()
    with ThreadPoolExecutor(len(servers)) as pool:
        told = list(pool.map(lambda s: try_asking(s.url, requests, 300), servers))
    timer.join()
    per_student = source.calls() / STUDENTS
    return Row(
        what,
        f"{per_student:.3f} gatherings; {_times(told[gone:])}",
        goal=at_most(most, per_student),
    )


def _times(told: Sequence[Answers]) -> str:
    seconds = [1000 * one for answers in told for one in answers.seconds]
    failures: Counter[str] = sum((answers.failures for answers in told), Counter())
    wrong = ", ".join(f"{count} {what}" for what, count in failures.items())
    return (
        f"{median(seconds):.0f} / {percentile(seconds, 0.95):.0f} /"
        f" {max(seconds):.0f} ms; {wrong or '0 errors'}"
    )


def _refusals(source: College3000) -> Iterator[Row]:
    source.turn(faults={"*": {"delay": 0.0}})  # so that it is not in the figure
    with machines(source, 2, 2) as (servers, store):
        for name, cut in (("", False), (", connections cut", True)):
            seconds = [_crossed(source, servers, store, cut) for _ in range(REFUSALS)]
            yield Row(
                f"a refusal reaches the other machine{name}",
                f"median {1000 * median(seconds):.0f} ms,"
                f" longest {1000 * max(seconds):.0f} ms",
                goal=at_most(5.0, max(seconds), " s"),
            )


def _crossed(
    source: College3000, servers: Sequence[Server], store: Store, cut: bool
) -> float:
    """Seconds from a refusal at one service until the other asks anew."""
    ((token, _),) = source.newcomers(1)
    for server in servers:
        _status(server, "quiz", token)
    source.turn(revoke=token)
    if cut:
        store.cut()
    _status(servers[0], "attendance", token)  # nobody has asked for it yet
    began = time.perf_counter()
    while _status(servers[1], "quiz", token) == 200:
        time.sleep(0.001)
    return time.perf_counter() - began


def _status(server: Server, page: str, token: str) -> int:
    request = urllib.request.Request(
        f"{server.url}/api/{page}", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code


def _frozen(source: College3000) -> Iterator[Row]:
    """A student whose page is kept, while newcomers run into a store that stands still
    for ten seconds.
    """
    with machines(source, 2, 2) as (servers, store):
        ((token, _),) = source.newcomers(1)
        kept = page_request("quiz", token)
        for server in servers:
            try_asking(server.url, [kept] * 50, 10)
        store.freeze()
        newcomers = [
            page_request("quiz", token) for token, _ in source.newcomers(STUDENTS)
        ]
        seconds: list[float] = []
        failures: Counter[str] = Counter()
        with ThreadPoolExecutor(1) as pool:
            crowd = pool.submit(try_asking, servers[0].url, newcomers, 5)
            end = time.monotonic() + 10.0
            while time.monotonic() < end:
                answers = try_asking(servers[0].url, [kept])
                seconds += answers.seconds
                failures += answers.failures
                time.sleep(0.02)
            others = crowd.result()
        yield Row(
            "a kept page while the store is frozen for 10 s",
            f"p99 {1000 * percentile(seconds, 0.99):.0f} ms,"
            f" longest {1000 * max(seconds):.0f} ms; {failures.total()} errors",
            f"newcomers {_times([others])}",
            goal=at_most(0, failures.total() + others.failures.total(), " errors"),
        )


def _costs(source: College3000, pace: Pace) -> Iterator[Row]:
    ((token, _),) = source.newcomers(1)
    page = page_request("attendance", token)
    with contextlib.ExitStack() as running:
        stores: dict[str, Store | None] = {"without": None}
        for name, kind in (("with a store", Store), ("with one by TLS", SecureStore)):
            store = kind(running.enter_context(tempfile.TemporaryDirectory()))
            running.callback(store.kill)
            stores[name] = store
        without, with_it, by_tls = (
            replace(running.enter_context(service(source, 2, store)), name=name)
            for name, store in stores.items()
        )
        for server in (without, with_it, by_tls):
            warm(server, page)
        for name, server in (("a store", with_it), ("one by TLS", by_tls)):
            sides = [(server, page), (without, page)]
            yield from beside(
                f"a kept page, with {name}", sides, 50, pace, {"without": 0.97}
            )
            yield _cpu(server, without, page, pace)
        yield from _starts(source, stores, pace)


def _cpu(server: Server, without: Server, page: Request, pace: Pace) -> Row:
    """Processor time of a kept answer, which other load on the machine changes less."""
    ratios, costs = [], []
    for _ in range(2 * pace.rounds):
        ours, other = (_cpu_of(one, page) for one in (server, without))
        ratios.append(ours / other)
        costs.append((ours, other))
    ours, other = (1e6 * median(cost) for cost in zip(*costs, strict=True))
    ratio = median(ratios)
    return Row(
        "... processor time of one",
        f"{ours:.1f} us",
        f"without {other:.1f} us",
        ratio,
        at_most(1.03, ratio),
    )


def _cpu_of(server: Server, page: Request) -> float:
    """Seconds of its workers' processors for one answer."""
    before = cpu_seconds(server.workers())
    rate = drive(server.url, page, 50, 1)
    return (cpu_seconds(server.workers()) - before) / rate.per_second


def _starts(
    source: College3000, stores: Mapping[str, Store | None], pace: Pace
) -> Iterator[Row]:
    rounds = []
    for _ in range(3 * pace.rounds):
        seconds = {}
        for name, store in stores.items():
            with service(source, 2, store) as server:
                seconds[name] = server.seconds
        rounds.append(seconds)
    for name in stores:
        if name == "without":
            continue
        more = 1000 * median(each[name] - each["without"] for each in rounds)
        yield Row(
            f"start {name}",
            f"{1000 * median(each[name] for each in rounds):.0f} ms",
            f"without {1000 * median(each['without'] for each in rounds):.0f} ms",
            goal=at_most(60, more, " ms more"),
        )
