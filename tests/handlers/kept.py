"""What tests of kept pages, and of those under way, ask of them."""

import json

from ..waiting import eventually


async def refreshed(worker) -> None:
    """Wait until nothing is gathered any more."""
    await eventually(lambda: not any(map(len, worker.kept.flights)))


async def held(platform, calls=1) -> None:
    """Hold the platform's answers, and wait until it has so many calls."""
    platform.hold()
    await eventually(lambda: platform.counters.total == calls)


def requests_under_way(worker) -> int:
    """How many are being answered."""
    requests = json.loads(worker.metrics.summary())["requests"]
    return int(requests["inProgress"])


def pages_shared(worker) -> float:
    """How many pages and parts were put where every worker finds them."""
    lines = worker.metrics.exposition().decode().splitlines()
    kept = [line for line in lines if line.startswith("aims_leases_total{")]
    return sum(float(line.split()[-1]) for line in kept if 'end="kept"' in line)


def outcomes(answers) -> list[str]:
    """How each answer was come by."""
    return [answer.headers["X-Cache"] for answer in answers]
