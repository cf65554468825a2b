"""Many requests at once for pages not kept: of a thousand students, and of one."""

from collections.abc import Iterator

from . import processes
from .cold import pages
from .load import Answers, Request, ask, median, percentile, try_asking
from .processes import Platform, Server
from .report import Row, at_most
from .turns import Pace

STUDENTS = 1000
CALL_SECONDS = 0.02
SLOTS = 100


def crowd(_: Pace) -> Iterator[Row]:
    """1000 students request their page of 15 subjects at once, 20 ms a call, two
    workers: with time enough for all, as the peers have it, and with the default
    settings, which refuse those who could not be served in ten seconds.
    """
    with processes.platform(CALL_SECONDS) as source:
        servers = {
            "time enough": processes.service(source, 2, REQUEST_TIMEOUT_SECONDS="120"),
            "as it comes": processes.service(source, 2),
            "FastAPI": processes.fastapi(source, 2),
            "aiohttp": processes.aiohttp(source, 2),
        }
        for name, starting in servers.items():
            with starting as server:
                ask(server.url, pages(source.newcomers(48)), at_once=24)
                told = _told(server, source, pages(source.newcomers(STUDENTS)))
            yield _row(f"1000 students at once: {name}", told, name in _PEERS)


def fifty(pace: Pace) -> Iterator[Row]:
    """50 students at once ask for their page of 15 subjects, 20 ms a call, two workers,
    beside the least that their 800 calls take in 100 slots: the course files come
    first, 50 calls that leave half of the slots free.
    """
    least = CALL_SECONDS + 50 * 15 * CALL_SECONDS / SLOTS
    with (
        processes.platform(CALL_SECONDS) as source,
        processes.service(source, 2, MAX_CONCURRENT_REQUESTS=str(SLOTS)) as ours,
    ):
        times = [
            ask(ours.url, pages(source.newcomers(50)), at_once=50).whole
            for _ in range(pace.rounds + 2)
        ][2:]  # connections, and bodies of the platform
    ratio = median(times) / least
    yield Row(
        "50 students at once",
        f"{1000 * median(times):.0f} ms",
        f"100 slots {1000 * least:.0f} ms",
        ratio,
        at_most(1.15, ratio),
    )


def one_student(_: Pace) -> Iterator[Row]:
    """One student's page of 15 subjects is requested 1000 times at once, 20 ms a call,
    two workers: 16 calls are needed, and no worker knows what the other does.
    """
    with processes.platform(CALL_SECONDS) as source:
        servers = {
            "ours": processes.service(source, 2),
            "FastAPI": processes.fastapi(source, 2),
            "aiohttp": processes.aiohttp(source, 2),
        }
        for name, starting in servers.items():
            with starting as server:
                ask(server.url, pages(source.newcomers(48)), at_once=24)
                told = _told(server, source, pages(source.newcomers(1)) * 1000)
            yield _row(f"one student 1000 times: {name}", told, name in _PEERS)


_PEERS = ("FastAPI", "aiohttp")


def _told(server: Server, source: Platform, requests: list[Request]) -> str:
    source.calls()
    answers = try_asking(server.url, requests, at_once=len(requests))
    return f"{_rate(answers)}, {source.calls()} calls"


def _rate(answers: Answers) -> str:
    failures = answers.failures
    served = len(answers.seconds) - failures.total()
    told = (
        f"{served / answers.whole:.0f} pages/s, "
        f"p99 {percentile(answers.seconds, 0.99):.2f} s"
    )
    wrong = ", ".join(f"{count} {what}" for what, count in failures.items())
    return f"{told}; {wrong}" if wrong else told


def _row(what: str, told: str, is_peer: bool) -> Row:
    return Row(what, "", told) if is_peer else Row(what, told)
