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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from .isolation import crossed
from .load import Answers, Request, median, percentile, try_asking
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
                lambda befall=befall, servers=servers, store=store: befall(  # type: ignore[misc]  # bound now
                    servers, store
                ),
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
    befall: Callable[[], object] = bool,
    gone: int = 0,
) -> Row:
    """Ask all servers for all students at once; ``befall`` happens in the middle, and
    leaves the first ``gone`` servers out of the account.
    """
    requests = [
        Request("/api/quiz", {"Authorization": f"Bearer {token}"})
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


def _costs(source: College3000, pace: Pace) -> Iterator[Row]:
    ((token, _),) = source.newcomers(1)
    page = Request("/api/attendance", {"Authorization": f"Bearer {token}"})
    with contextlib.ExitStack() as running:
        store = Store(running.enter_context(tempfile.TemporaryDirectory()))
        running.callback(store.kill)
        with_it = running.enter_context(service(source, 2, store=store))
        without = running.enter_context(service(source, 2))
        sides = [(with_it, page), (_named(without, "without"), page)]
        for server, request in sides:
            warm(server, request)
        yield from beside(
            "a kept page, with a store", sides, 50, pace, {"without": 0.97}
        )
        starts: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(2 * pace.rounds):
            for stored in starts:
                with service(source, 2, store if stored else None) as server:
                    starts[stored].append(server.seconds)
    more = 1000 * (median(starts[True]) - median(starts[False]))
    yield Row(
        "start with a store",
        f"{1000 * median(starts[True]):.0f} ms",
        f"without {1000 * median(starts[False]):.0f} ms",
        goal=at_most(60, more, " ms more"),
    )


def _named(server: Server, name: str) -> Server:
    return Server(name, server.url, server.pid, server.seconds)
