"""What tests of kept pages ask of them."""

from aims_server import pages

from ..waiting import eventually

PAGES = [page.path for page in pages.PAGES if not page.parameters]


async def refreshed(worker) -> None:
    """Wait until nothing is gathered any more."""
    await eventually(lambda: not any(map(len, worker.flights)))


def outcomes(answers) -> list[str]:
    """How each answer was come by."""
    return [answer.headers["X-Cache"] for answer in answers]
