"""Slow days: cold pages of fifteen subjects while the platform is late, hangs, fails or
is crowded, beside a plain gatherer and the FastAPI peer.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import aiohttp

from . import processes
from .cold import pages
from .load import INCOMPLETE, median, percentile, run
from .processes import Platform, Server
from .report import Goal, Row, at_least, at_most
from .turns import Pace

__all__ = ["SCENARIOS", "scenario", "slowdays"]

PLAIN_SECONDS: Final = 10.0  # what the plain gatherer allows for a page
TRIPS: Final = 2
_WHOLE, _PART, _NOTHING = "whole", "part", "nothing"


class Scenario(NamedTuple):
    """What the platform is like (fields of the simulated platform's `Fault`), how many
    students ask at once, how often each, if it did not get all; how many times as
    many rounds it takes to know a share or a quantile of what is left to chance; and
    whether a goal is measured by the plain gatherer.
    """

    knobs: dict[str, Any]
    students: int = 8
    askings: int = 1
    times: int = 5
    by_plain: bool = False


class Asking(NamedTuple):
    """What one asking of one student came to, after how long."""

    outcome: str
    seconds: float


class Day(NamedTuple):
    """All students' askings, in order, and calls of the platform a page."""

    students: Sequence[Sequence[Asking]]
    calls: float

    def share(self, *outcomes: str, asking: int = -1) -> float:
        """Which part of the students had this at the latest at that asking."""
        last = [
            askings[:asking] if asking > 0 else askings for askings in self.students
        ]
        return sum(each[-1].outcome in outcomes for each in last) / len(last)

    def seconds(self, asking: int = 0) -> list[float]:
        """How long that asking took, of those who made it."""
        return [each[asking].seconds for each in self.students if len(each) > asking]

    @property
    def p50(self) -> float:
        """The median time of the first asking."""
        return median(self.seconds())

    @property
    def p95(self) -> float:
        """Its 95th percentile."""
        return percentile(self.seconds(), 0.95)

    def __str__(self) -> str:
        whole, some = self.share(_WHOLE), self.share(_WHOLE, _PART)
        return (
            f"{whole:.0%} whole, {some:.0%} something, p50 {self.p50:.2f} s,"
            f" p95 {self.p95:.2f} s, {self.calls:.1f} calls"
        )


CALM: Final = {"delay": 0.2, "sigma": 0.3}
SCENARIOS: Final[dict[str, Scenario]] = {
    "calm": Scenario(CALM, by_plain=True),
    "2s": Scenario({"delay": 2.0}, 6, times=1),
    "4s": Scenario({"delay": 4.0}, 6, times=1),
    "6s": Scenario({"delay": 6.0}, 6, 2, 1),
    "9s": Scenario({"delay": 9.0}, 6, 2, 1),
    "12s": Scenario({"delay": 12.0}, 6, 3, 1),
    "tail": Scenario({"delay": 0.3, "sigma": 1.2}, times=8, by_plain=True),
    "hanging-1": Scenario({**CALM, "kind": "hang", "share": 0.01}),
    "hanging-5": Scenario({**CALM, "kind": "hang", "share": 0.05}),
    "flaky": Scenario({**CALM, "kind": "status", "share": 0.2}),
    "resets": Scenario({**CALM, "kind": "reset", "share": 0.1}),
    "resets-tail": Scenario(
        {"delay": 0.3, "sigma": 1.2, "kind": "reset", "share": 0.01}
    ),
    "crowded": Scenario({"delay": 0.2, "capacity": 20}, 10),
}
# What the share of whole pages, of something, and so on should be; see `_goals`.
_CONSTANT: Final = {"2s": 2.0, "4s": 4.0}
_LATER: Final = {"6s": (1, 2), "9s": (1, 2), "12s": (2, 3)}  # something, whole: by then
_P50: Final = {"hanging-5": 1.6}  # times that of the calm day
_P95: Final = {"hanging-1": 1.6, "hanging-5": 2.2, "flaky": 2.5}
_CALLS: Final = {
    **dict.fromkeys(("2s", "4s", *_LATER), 16.5),
    "calm": 16.6,
    "tail": 17.5,
    "hanging-1": 17.0,
    "hanging-5": 17.8,
    "flaky": 21.0,
}
_WHOLE_GOALS: Final = {
    **dict.fromkeys(("calm", "2s", "4s", "tail", "hanging-1"), 1.0),
    "hanging-5": 0.99,
    "flaky": 0.98,
}


def slowdays(pace: Pace) -> Iterator[Row]:
    """Share of whole pages and of pages with something at all, times and calls a page
    (16 are needed) on slow days, with the settings as they come, two workers; the plain
    gatherer gives a page 10 s, and FastAPI as long as it takes.
    """
    calm: dict[str, Day] = {}
    for name in SCENARIOS:
        yield from _rows(name, pace, calm)


def scenario(name: str) -> Callable[[Pace], Iterator[Row]]:
    """One of them alone, measured by a calm day of its own."""

    def alone(pace: Pace) -> Iterator[Row]:
        calm: dict[str, Day] = {}
        if name != "calm":
            for _ in _rows("calm", pace, calm):
                pass
        yield from _rows(name, pace, calm)

    alone.__doc__ = f"The slow day {name} alone: {SCENARIOS[name].knobs}."
    return alone


def _rows(name: str, pace: Pace, calm: dict[str, Day]) -> Iterator[Row]:
    days = {}
    for peer in ("ours", "plain", "FastAPI"):
        with processes.platform(faults=SCENARIOS[name].knobs) as source:
            days[peer] = _day(peer, source, SCENARIOS[name], pace)
    if name == "calm":
        calm.update(days)
    yield Row(name, str(days["ours"]), f"plain {days['plain']}")
    yield Row("", "", f"FastAPI {days['FastAPI']}")
    for what, goal in _goals(name, days, calm["ours"]):
        yield Row(f"{name}: {what}", "", goal=goal)


def _day(peer: str, source: Platform, how: Scenario, pace: Pace) -> Day:
    rounds = _rounds(peer, how, pace)
    if peer == "plain":
        return _lived(source, how, rounds, lambda tokens: run(_plain(source, tokens)))
    starting = (
        processes.service(source, 2) if peer == "ours" else processes.fastapi(source, 2)
    )
    with starting as server:
        return _lived(
            source, how, rounds, lambda tokens: run(_asked(server, tokens, how.askings))
        )


def _rounds(peer: str, how: Scenario, pace: Pace) -> int:
    """How often a peer lives through a day: ours for its goals, the plain gatherer so
    where one is measured by it. Else they would wait for what hangs for ten minutes.
    """
    if peer == "ours" or (peer == "plain" and how.by_plain):
        return pace.rounds * how.times
    return pace.rounds if how.times > 1 else 1  # nothing is left to chance


def _lived(
    source: Platform,
    how: Scenario,
    rounds: int,
    ask: Callable[[list[str]], list[list[Asking]]],
) -> Day:
    students: list[list[Asking]] = []
    source.calls()
    for _ in range(rounds):
        students += ask(source.newcomers(how.students))
    return Day(students, source.calls() / len(students))


async def _asked(server: Server, tokens: list[str], askings: int) -> list[list[Asking]]:
    """All at once; who did not get a whole page asks again at once."""

    async def student(session: aiohttp.ClientSession, token: str) -> list[Asking]:
        (request,) = pages([token])
        had: list[Asking] = []
        while len(had) < askings and not (had and had[-1].outcome == _WHOLE):
            began = time.perf_counter()
            try:
                async with session.get(
                    server.url + request.path, headers=request.headers
                ) as answer:
                    body = await answer.read()
                whole = _PART if INCOMPLETE in body else _WHOLE
                outcome = whole if answer.status == 200 else _NOTHING
            except (aiohttp.ClientError, TimeoutError):
                outcome = _NOTHING
            had.append(Asking(outcome, time.perf_counter() - began))
        return had

    async with _session(30.0) as session:
        return list(await asyncio.gather(*(student(session, each) for each in tokens)))


async def _plain(source: Platform, tokens: list[str]) -> list[list[Asking]]:
    """Course files, then every subject at once, each call made once; ten seconds."""

    async def call(session: aiohttp.ClientSession, path: str, token: str) -> bytes:
        headers = {"Authorization": f"Bearer {token}"}
        async with session.get(source.base + path, headers=headers) as answer:
            answer.raise_for_status()
            body: bytes = await answer.read()
            return body

    async def page(session: aiohttp.ClientSession, token: str) -> None:
        path = "/custom/getCFMappedWithStudentID?embed_attendance_summary=1"
        rows = json.loads(await call(session, path, token))["response"]["data"]
        path = "/cards?type=Attendance&sort_by=%2Bdatetime1&equalto___fk_student="
        await asyncio.gather(
            *(
                call(
                    session,
                    f"{path}{row['student_id']}&equalto___cf_id={row['id']}",
                    token,
                )
                for row in rows
                if "id" in row
            )
        )

    async def student(session: aiohttp.ClientSession, token: str) -> list[Asking]:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PLAIN_SECONDS):
                await page(session, token)
            outcome = _WHOLE
        except (aiohttp.ClientError, TimeoutError):
            outcome = _NOTHING
        return [Asking(outcome, time.perf_counter() - began)]

    async with _session(PLAIN_SECONDS) as session:
        return list(await asyncio.gather(*(student(session, each) for each in tokens)))


def _session(seconds: float) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(seconds),
    )


def _goals(name: str, days: dict[str, Day], calm: Day) -> Iterator[tuple[str, Goal]]:
    ours = days["ours"]
    if name in _WHOLE_GOALS:
        yield "whole pages", at_least(_WHOLE_GOALS[name], ours.share(_WHOLE))
    something, whole = _LATER.get(name, (1, 1))
    got = ours.share(_WHOLE, _PART, asking=something)
    yield f"something by asking {something}", at_least(1, got)
    if name in _LATER:
        got = ours.share(_WHOLE, asking=whole)
        yield f"whole by asking {whole}", at_least(1, got)
    if name in _CALLS:
        yield "calls a page", at_most(_CALLS[name], ours.calls)
    yield from _time_goals(name, days, calm)


def _time_goals(
    name: str, days: dict[str, Day], calm: Day
) -> Iterator[tuple[str, Goal]]:
    ours, plain = days["ours"], days["plain"]
    p50, p95 = ours.p50, ours.p95
    if name in _LATER:
        slowest = max(max(ours.seconds(n), default=0.0) for n in range(_LATER[name][1]))
        yield "every answer", at_most(10.1, slowest, " s")
    if name in _CONSTANT:
        most = 1.05 * TRIPS * _CONSTANT[name]
        yield "time of two round trips", at_most(most, max(ours.seconds()), " s")
    if name == "calm":
        yield "p50 by the plain gatherer's", at_most(1.05, p50 / plain.p50)
    if name == "tail":
        yield "p95 by the plain gatherer's", at_most(0.6, p95 / plain.p95)
    if name in _P50:
        yield "p50 by the calm one", at_most(_P50[name], p50 / calm.p50)
    if name in _P95:
        yield "p95 by the calm one", at_most(_P95[name], p95 / calm.p95)
