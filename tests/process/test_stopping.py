"""SIGTERM and SIGINT to the real command: who is still served, and when it is over."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from ..waiting import PATIENCE_SECONDS, until
from .conftest import COMMAND
from .crowd import Crowd, Kept, probe, run, tokens

pytestmark = pytest.mark.process


async def is_accepted(url: str) -> bool:
    """Whether one more connection is."""
    try:
        await (await Kept.open(url)).ended()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:
        pass  # a worker closed just then, and another may still accept
    return True


def test_until_the_delay_is_over_all_are_served(busy):
    """Health says 503 to the balancer; whoever comes all the same is answered, on a
    fresh connection or a kept one, and told that it is the last time.
    """
    service = busy(DRAIN_DELAY_SECONDS="300")

    async def visit() -> None:
        host, port = service.url.removeprefix("http://").split(":")
        kept = await Kept.open(service.url)
        kept.send("/health")
        assert await kept.answer() == (200, False)

        service.signal(signal.SIGTERM)
        told = 0  # probes in a row, whichever worker they come to
        while told < 10:
            told = told + 1 if await probe(host, int(port)) == 503 else 0
        fresh = await Kept.open(service.url)
        fresh.send("/api/attendance")
        assert await fresh.answer() == (401, True)
        assert await fresh.ended()
        kept.send("/health/live")
        assert await kept.answer() == (200, True)
        assert await kept.ended()

    run(visit())


def test_the_figures_tell_a_stop(busy):
    """Whichever worker is asked for them."""
    service = busy(DRAIN_DELAY_SECONDS="300")
    assert service.figures("aims_worker_leaving{") == [0, 0]
    service.signal(signal.SIGTERM)
    until(lambda: service.figures("aims_worker_leaving{") == [1, 1])


def test_after_the_delay_only_work_is_waited_for(busy, platform):
    """An idle connection ends and no other is accepted, while a page is gathered on."""
    service = busy(DRAIN_DELAY_SECONDS="0.5")
    (token,) = tokens(1)
    platform.turn(hold="*")

    async def visit() -> None:
        idle, working = [await Kept.open(service.url) for _ in range(2)]
        idle.send("/health")
        assert await idle.answer() == (200, False)
        working.send("/api/quiz", token)
        platform.wait_until_asked()

        service.signal(signal.SIGTERM)
        assert await idle.ended()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await is_accepted(service.url):
                pass  # each worker has its own idea of the moment
        platform.turn(release="*")
        assert await working.answer() == (200, True)
        assert await working.ended()

    run(visit())
    assert service.wait() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_costs_no_request(busy, workers):
    """40 clients at work: each request is answered, with 200."""
    service = busy(WORKERS=workers)
    with Crowd(service.url, 40) as crowd:
        crowd.wait_for_answers(2)
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
    assert crowd.losses == []
    assert set(crowd.statuses) == {200}


# The service, whose first worker sends it a SIGTERM at once; prints the workers made.
_STOPPED_BY_THE_FIRST = """
import os, signal, sys
made = []
os.register_at_fork(
    after_in_parent=lambda: made.append(1),
    after_in_child=lambda: made or os.kill(os.getppid(), signal.SIGTERM),
)
from aims_server.cli import main
status = main([])
print(len(made))
sys.exit(status)
"""


def test_sigterm_ends_a_start_before_all_workers_are_made(tmp_path):
    """On a busy machine two hundred of them take 15 s."""
    workers = 200
    done = subprocess.run(
        [sys.executable, "-c", _STOPPED_BY_THE_FIRST],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PORT": "0",
            "WORKERS": str(workers),
            "MAX_CONCURRENT_REQUESTS": str(workers),
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0
    assert int(done.stdout) < workers


def test_sigterm_twice_stops_at_once(busy):
    """The second does not wait for anything, and the status says so."""
    service = busy(DRAIN_DELAY_SECONDS="300")
    service.signal(signal.SIGTERM)
    service.wait_for_log("Stopping")
    service.signal(signal.SIGTERM)
    assert service.wait() == 1
    assert service.log.count("ended badly (SIGKILL)") == 2


def test_sigint_drains_without_the_delay(busy, platform):
    """Work in flight is finished; nobody waits for a balancer."""
    service = busy(WORKERS="1", DRAIN_DELAY_SECONDS="300")
    (token,) = tokens(1)
    platform.turn(hold="*")

    async def visit() -> None:
        idle, working = [await Kept.open(service.url) for _ in range(2)]
        idle.send("/health")
        assert await idle.answer() == (200, False)
        working.send("/api/quiz", token)
        platform.wait_until_asked()
        service.signal(signal.SIGINT)
        assert await idle.ended()
        platform.turn(release="*")
        assert await working.answer() == (200, True)
        assert await working.ended()

    run(visit())
    assert service.wait() == 0


def test_the_grace_period_ends(busy, platform):
    """What hangs is cut off then, told in the log, and the exit is clean."""
    service = busy(
        DRAIN_DELAY_SECONDS="0",
        SHUTDOWN_GRACE_SECONDS="0.5",
        REQUEST_TIMEOUT_SECONDS="30",
    )
    platform.turn(hold="*")
    (token,) = tokens(1)

    async def visit() -> None:
        hanging = await Kept.open(service.url)
        hanging.send("/api/quiz", token)
        platform.wait_until_asked()
        service.signal(signal.SIGTERM)
        assert await hanging.ended()

    run(visit())
    assert service.wait() == 0
    assert service.log.count("cutting off") == 1


def test_a_silent_name_server_is_not_waited_for(start, unresolving):
    """The platform's name and the store's are still looked up when a stop comes."""
    service = start(
        command=[*unresolving, *COMMAND],
        EXTERNAL_API_BASE="https://platform.example/api",
        STORE_URL="redis://:x@store.example",
        STORE_SECRET="x" * 44,
        DRAIN_DELAY_SECONDS="0",
    )
    service.wait_for_log("is not used: .*: no answer in time")
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
    assert "ended badly" not in service.log
