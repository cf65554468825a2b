"""SIGHUP to the real command: new settings, new workers, and nobody notices."""

import asyncio
import os
import signal
import sys
from functools import partial

import pytest

from ..waiting import until
from .conftest import BREAKABLE, COPY, shell
from .crowd import Crowd, Kept, run, tokens

pytestmark = pytest.mark.process

# While there is a file "broken" the system has no process for a worker, but for one
# where there is a directory "spare".
BARELY_FORKABLE = """
import os, sys
from aims_server import cli
from aims_server.process import rollout

def fork(fork=os.fork):
    if os.path.exists("broken"):
        try:
            os.rmdir("spare")
        except FileNotFoundError:
            raise BlockingIOError(11, os.strerror(11))
    return fork()

os.fork = fork
rollout.RETRY_SECONDS = 0.1
sys.exit(cli.main([]))
"""
# While there is a file "broken" a worker dies as soon as it is ready, as by a library
# that it then loads and that does not fit those in memory. On a busy machine half a
# second passes before its death is seen, after which it would have served.
SHORT_LIVED = """
import os, signal, sys
from aims_server import cli
from aims_server.process import rollout, worker

rollout.MIN_SERVED_SECONDS = 60

def send(channel, message, send=worker._send):
    broken = os.path.exists("broken")  # once it is ready, others may break it
    send(channel, message)
    if message == worker.READY and broken:
        os.kill(os.getpid(), signal.SIGSEGV)

worker._send = send
sys.exit(cli.main([]))
"""

# One file of the program is replaced by its copy once it has been imported.
REPLACED = """
import os, shutil, sys, time
from aims_server import cli, errors

time.sleep(0.1)  # the clock of files has ticked
shutil.copy2(errors.__file__, "copy")
os.replace("copy", errors.__file__)
sys.exit(cli.main([]))
"""


def roll(service) -> list[int]:
    """Replace all workers and wait until it is done; the new ones."""
    before, seen = service.workers(), len(service.log)
    service.signal(signal.SIGHUP)
    service.wait_for_log("Serving on", after=seen)
    return [pid for pid in service.workers() if pid not in before]


def test_ten_rolls_cost_no_request(busy):
    """40 clients at work notice nothing, neither then nor at the end by SIGTERM."""
    service = busy()
    seen = set(service.workers())
    with Crowd(service.url, 40) as crowd:
        for _ in range(10):
            new = roll(service)
            assert len(new) == 2
            assert not seen & set(new)
            seen |= set(new)
        until(lambda: service.figures("aims_worker_generation{") == [10, 10])
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
    assert crowd.losses == []
    assert set(crowd.statuses) == {200}
    assert crowd.health_until_draining == {200}


def test_a_roll_is_no_ill_health(start):
    """A balancer that keeps its connections is told to close each with its next answer,
    not to go away; until then none is closed, or a request might be just on its way.
    """
    service = start(WORKERS="2", DRAIN_DELAY_SECONDS="0").wait_until_serving()

    async def visit() -> None:
        probes = [await Kept.open(service.url) for _ in range(8)]
        for probe in probes:
            probe.send("/health")
            assert await probe.answer() == (200, False)
        await asyncio.to_thread(roll, service)
        # The old ones may be told a moment after the log was.
        until(lambda: service.figures("aims_worker_leaving{").count(0) == 2)
        await asyncio.sleep(0.2)  # so long after its answer one counts as busy
        for probe in probes:
            probe.send("/health")
            assert await probe.answer() == (200, True)
            assert await probe.ended()

    run(visit())
    service.wait_for_workers(2)  # at once, with nobody left to serve


def test_a_stop_does_not_wait_for_a_roll(start):
    """What the workers that leave would wait for, idle connections, ends with it."""
    service = start(
        WORKERS="2", DRAIN_DELAY_SECONDS="0", SHUTDOWN_GRACE_SECONDS="6"
    ).wait_until_serving()

    async def visit() -> None:
        kept = [await Kept.open(service.url) for _ in range(8)]
        for one in kept:
            one.send("/health")
            assert await one.answer() == (200, False)
        await asyncio.to_thread(roll, service)
        service.signal(signal.SIGTERM)
        for one in kept:
            assert await one.ended()

    run(visit())
    assert service.wait() == 0
    assert "killing" not in service.log


def test_new_settings_hold_without_a_restart(start):
    """What .env says now, the number of workers included; HOST and PORT must wait."""
    service = start(CORS_ORIGIN="https://one.example").wait_until_serving()
    written = service.directory / ".env"
    # Shared out to the last call, whatever the number.
    limits = partial(service.figures, "aims_upstream_slots_limit", token="t")
    for workers in (3, 1, 2):
        written.write_text(f"WORKERS={workers}\nDRAIN_DELAY_SECONDS=0\nMETRICS_TOKEN=t")
        roll(service)
        service.wait_for_workers(workers)
        assert service.get("/metrics")[0] == 401
        until(lambda: limits() == [100])
    assert "HOST and PORT" not in service.log
    written.write_text("WORKERS=2\nHOST=127.0.0.2\nCACHE_SHARED_MB=1\n")
    roll(service)
    for fixed in ("HOST and PORT", "CACHE_SHARED_MB and the store"):
        assert service.log.count(f"{fixed} stay as they are until a restart") == 1
    assert service.get("/health")[0] == 200


def test_a_reload_warns_as_a_start_does(start):
    """It warns of duplicates too, and the parent's log follows the new settings."""
    service = start(WORKERS="1", DRAIN_DELAY_SECONDS="0").wait_until_serving()
    before = service.workers()
    (service.directory / ".env").write_text("LOG_LEVEL=info\nLOG_LEVEL=warning\n")
    service.signal(signal.SIGHUP)
    service.wait_for_workers(1, but=before)
    assert "LOG_LEVEL is set in lines 1 and 2; the last one counts" in service.log
    assert "Replacing the workers" not in service.log


@pytest.mark.parametrize("file", ["errors.py", "web_page/style.css"])
def test_a_new_version_asks_for_a_restart(start, file):
    """Whichever file it has changed: a pull into a checkout changes few."""
    service = start(command=shell(COPY), WORKERS="1").wait_until_serving()
    roll(service)
    assert "the program has changed" not in service.log
    (service.directory / "aims_server" / file).write_text("new = 1\n")
    roll(service)
    service.wait_for_log("Reloaded, but the program has changed on disk")


def test_a_file_replaced_during_the_start_asks_for_a_restart(start):
    """It was read before, even if the new one bears the old one's time, as what an
    installer unpacks does.
    """
    command = shell(COPY, [sys.executable, "-c", REPLACED])
    service = start(command=command, WORKERS="1").wait_until_serving()
    assert "the program has changed" not in service.log
    roll(service)
    service.wait_for_log("Reloaded, but the program has changed on disk")


def test_a_new_target_holds_for_kept_pages_too(serve):
    """What is kept outlives a reload, but not figures for another target."""
    service = serve(1)
    (token,) = tokens(1)
    old = service.workers()
    before = service.get("/api/attendance", token)
    (service.directory / ".env").write_text("ATTENDANCE_TARGET_PERCENT=99\n")
    roll(service)
    service.wait_for_workers(1, but=old)
    after = service.get("/api/attendance", token)
    assert (before[0], after[0]) == (200, 200)
    assert b'"target":75' in before[1]
    assert b'"target":99' in after[1]
    files = service.figures(
        'aims_upstream_calls_total{endpoint="course_files",outcome="ok"'
    )
    assert files == [1]


def test_broken_settings_change_nothing(start):
    """The old workers stay, and each fault is a line in the log."""
    service = start(WORKERS="2", DRAIN_DELAY_SECONDS="0").wait_until_serving()
    workers = service.workers()
    written = service.directory / ".env"
    written.write_text("RATE_LIMIT_PER_MINUTE=many\nCACHE_MAX_MB=-1\nnonsense\n")
    service.signal(signal.SIGHUP)
    until(lambda: service.log.count("Settings not changed") == 3)
    assert service.get("/health")[0] == 200
    assert "Replacing" not in service.log
    assert service.workers() == workers
    written.unlink()
    assert len(roll(service)) == 2


def test_a_lost_file_changes_nothing(start):
    """The .env that was read at the start is gone: the defaults are not meant."""
    service = start(shell("echo METRICS_TOKEN=kept >.env")).wait_until_serving()
    workers = service.workers()
    (service.directory / ".env").unlink()
    service.signal(signal.SIGHUP)
    service.wait_for_log("was read at the start, and is gone")
    assert service.workers() == workers
    assert service.get("/metrics")[0] == 401


def test_workers_that_cannot_start_do_not_replace_others(start):
    """The roll is called off, the old ones go on, and the service says so; its log is
    that of the settings before.
    """
    service = start(command=BREAKABLE, WORKERS="2").wait_until_serving()
    service.may_fail = True
    workers = service.workers()
    written, broken = service.directory / ".env", service.directory / "broken"
    written.write_text("LOG_LEVEL=error\n")
    broken.touch()
    service.signal(signal.SIGHUP)
    given_up = service.wait_for_log(
        "cannot be started: 6 starts in a row .* and the settings before"
    )
    service.wait_for_log('"level":"info".*Serving on', after=given_up.end())
    service.wait_for_workers(2)
    assert service.workers() == workers
    assert service.get("/health")[0] == 200
    broken.unlink()
    written.unlink()
    assert len(roll(service)) == 2


def test_workers_that_die_when_they_are_ready_do_not_replace_others(start):
    """No old one is ended for them, and the roll is called off."""
    command = [sys.executable, "-c", SHORT_LIVED]
    service = start(command=command, WORKERS="2").wait_until_serving()
    workers = service.workers()
    (service.directory / "broken").touch()
    service.signal(signal.SIGHUP)
    service.wait_for_log("Going on with 2 that serve and the settings before")
    service.wait_for_workers(2)
    assert service.workers() == workers
    assert service.get("/health")[0] == 200


def test_a_roll_that_stops_half_way_is_taken_back(start):
    """A worker that has the new settings already does not keep them when they are given
    up: it is replaced as soon as another one can be started.
    """
    command = [sys.executable, "-c", BARELY_FORKABLE]
    service = start(command=command, WORKERS="2").wait_until_serving()
    before = service.workers()
    (service.directory / ".env").write_text("METRICS_TOKEN=new\n")
    (service.directory / "spare").mkdir()
    (service.directory / "broken").touch()
    service.signal(signal.SIGHUP)
    service.wait_for_log("Going on with 2 that serve and the settings before")
    new = [pid for pid in service.workers() if pid not in before]
    assert len(new) == 1
    (service.directory / "broken").unlink()
    service.wait_for_workers(2, but=new)
    assert [service.get("/metrics")[0] for _ in range(8)] == [200] * 8


def test_a_start_that_lacks_a_worker_may_be_reloaded(start):
    """Its settings may be why; those that serve have them as after a whole start."""
    command = [sys.executable, "-c", BARELY_FORKABLE]
    service = start(shell("mkdir spare && touch broken", command), WORKERS="2")
    service.wait_for_log("Going on with 1 that serve; a start is tried")
    service.signal(signal.SIGHUP)
    service.wait_for_log("Replacing the workers")


def test_a_roll_to_more_workers_that_is_called_off_waits_for_none(start):
    """One of two that were to be added has started: it leaves again, none is missing,
    and none is said to be tried.
    """
    command = [sys.executable, "-c", BARELY_FORKABLE]
    service = start(command=command).wait_until_serving()
    before = service.workers()
    (service.directory / ".env").write_text(f"WORKERS={len(before) + 2}\n")
    (service.directory / "spare").mkdir()
    (service.directory / "broken").touch()
    service.signal(signal.SIGHUP)
    given_up = service.wait_for_log("Going on with .* and the settings before")
    service.wait_for_log("Serving on", after=given_up.end())
    assert service.wait_for_workers(len(before)) == before
    assert "a start is tried" not in service.log


def test_a_worker_told_to_end_is_replaced_first(busy):
    """SIGTERM to one worker costs no request and no health."""
    service = busy()
    told, other = service.workers()
    with Crowd(service.url, 10) as crowd:
        os.kill(told, signal.SIGTERM)
        workers = service.wait_for_workers(2, but=[told])
        crowd.wait_for_answers(2)
    assert other in workers
    assert crowd.losses == []
    assert set(crowd.statuses) == {200}
    assert set(crowd.health) == {200}
