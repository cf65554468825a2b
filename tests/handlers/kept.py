"""What tests of kept pages ask of them."""

import json

from aims_server import pages

from ..counted import read
from ..waiting import eventually

PAGES = [page.path for page in pages.PAGES if not page.parameters]


async def refreshed(worker) -> None:
    """Wait until nothing is gathered any more."""
    await eventually(lambda: not any(map(len, worker.flights)))


def requests_under_way(worker) -> int:
    """How many are being answered."""
    requests = json.loads(worker.metrics.summary())["requests"]
    return int(requests["inProgress"])


def bytes_kept(worker) -> float:
    """How much has been put into the machine's memory, leases apart."""
    return read(worker.metrics)['aims_shared_bytes_total{level="machine"}']


def outcomes(answers) -> list[str]:
    """How each answer was come by."""
    return [answer.headers["X-Cache"] for answer in answers]
