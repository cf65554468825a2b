"""Workers and parents that die: what is lost, what is not, and what is left over."""

import os
import signal
import sys
import time
from contextlib import suppress
from functools import partial

import pytest

from aims_server.process.rollout import FAILED_STARTS, MIN_SERVED_SECONDS

from ..children import alive
from ..waiting import until
from .conftest import BREAKABLE, THREADLESS, Service, stop
from .crowd import Crowd

pytestmark = pytest.mark.process

KILLS = 6
SECOND_TO_BE_HUNG = """
import sys
from aims_server import cli
from aims_server.process import rollout
rollout.HUNG_SECONDS = 5.0
sys.exit(cli.main([]))
"""
UNFORKABLE = """
import os, sys
from aims_server import cli
from aims_server.process import rollout

def fork(fork=os.fork):
    if os.path.exists("broken"):
        open("tried", "a").write(".")
        raise BlockingIOError(11, os.strerror(11))
    return fork()

os.fork = fork
rollout.RETRY_SECONDS = 0.1
sys.exit(cli.main([]))
"""


def all_serve(service: Service) -> bool:
    """Whether two workers have done so for a moment; a death before that would be a
    failed start, or one of many that are told together.
    """
    starts = service.figures("aims_worker_start_time_seconds")
    return len(starts) == 2 and time.time() - max(starts) > MIN_SERVED_SECONDS


def wait_until_gone(pids: list[int]) -> None:
    """Wait for the end of all of them."""
    until(lambda: not any(alive(pid) for pid in pids))


def test_killed_workers_lose_only_what_they_worked_on(busy):
    """kill -9 again and again under 40 clients: health stays, and the counts agree."""
    service = busy()
    cut: list[int] = []  # the ports of the connections that ended with a worker
    with Crowd(service.url, 40) as crowd:
        for _ in range(KILLS):
            crowd.wait_for_answers(2)
            until(partial(all_serve, service))
            victim = service.workers()[0]
            stop(victim)  # or it would accept another one after we have looked
            cut += service.client_ports(victim)
            os.kill(victim, signal.SIGKILL)
            service.wait_for_workers(2, but=[victim])
        crowd.wait_for_answers(1)
    assert {loss.port for loss in crowd.losses} <= set(cut)
    assert 0 < len(crowd.losses) <= len(cut)
    assert set(crowd.statuses) == {200}
    # Each death may cost one probe, which is one of its connections.
    assert len([status for status in crowd.health if status != 200]) <= KILLS
    assert set(crowd.health) <= {200, 0}
    assert service.log.count("died (SIGKILL)") == KILLS
    assert service.figures("aims_worker_deaths_total") == [KILLS]
    # One is left: this very scrape.
    until(lambda: service.figures("aims_requests_in_progress") == [1])
    counted = sum(service.figures('aims_requests_total{method="GET",route="quiz"'))
    known = len(crowd.answers)
    # A worker counts an answer before it is sent, and may be killed in between.
    assert known <= counted <= known + len(crowd.losses)
    service.signal(signal.SIGTERM)
    assert service.wait() == 0


def test_workers_do_not_outlive_their_parent(start):
    """kill -9 of the parent: they end too, even one that hangs, or it would hold the
    port for ever.
    """
    service = start(WORKERS="3").wait_until_serving()
    workers = service.workers()
    stop(workers[-1])
    service.process.kill()
    service.wait()
    try:
        wait_until_gone(workers)
    finally:
        with suppress(ProcessLookupError):
            os.kill(workers[-1], signal.SIGKILL)


def test_a_hung_worker_is_replaced(start):
    """A worker whose loop stands still is killed and replaced."""
    service = start(
        command=[sys.executable, "-c", SECOND_TO_BE_HUNG], WORKERS="2"
    ).wait_until_serving()
    hung, other = service.workers()
    stop(hung)
    assert other in service.wait_for_workers(2, but=[hung])
    service.wait_for_log("is silent: ")
    assert service.log.count("is silent") == 1


def test_a_crash_loop_ends(start):
    """Workers that cannot start: some tries, then a clear line and exit status 1."""
    service = start(command=BREAKABLE, WORKERS="2").wait_until_serving()
    service.may_fail = True
    (service.directory / "broken").touch()
    stop(service.process.pid)  # or some starts may fail before the other one is dead
    for worker in service.workers():
        os.kill(worker, signal.SIGKILL)
    service.signal(signal.SIGCONT)
    assert service.wait() == 1
    assert "No worker can be started" in service.log
    failed = service.log.count("Worker 0 failed") + service.log.count("Worker 1 failed")
    assert FAILED_STARTS <= failed <= FAILED_STARTS + 1


def test_a_worker_that_cannot_be_started_is_told_once(start):
    """The log tells why, and what follows; the tries after that are counted by the
    minute. Once the system has a process for one again, both serve.
    """
    command = [sys.executable, "-c", UNFORKABLE]
    service = start(command=command, WORKERS="2").wait_until_serving()
    service.may_fail = True
    until(partial(all_serve, service))
    broken, tried = service.directory / "broken", service.directory / "tried"
    broken.touch()
    victim, other = service.workers()
    os.kill(victim, signal.SIGKILL)
    service.wait_for_log("Going on with 1 that serve; a start is tried every")
    until(lambda: tried.stat().st_size >= FAILED_STARTS + 5)
    lines = service.log.splitlines()
    told = [line for line in lines if " more in the last " not in line]
    assert len([line for line in told if '"level":"error"' in line]) == 2
    assert len([line for line in told if '"level":"critical"' in line]) == 1
    assert "Worker 0 could not start: Resource temporarily unav" in service.log
    assert "the settings before" not in service.log
    seen = len(service.log)
    broken.unlink()
    service.wait_for_log("Serving on .* with 2 workers", after=seen)
    assert other in service.wait_for_workers(2)


def test_a_worker_without_threads_does_not_serve(start):
    """Where the system refuses threads a start fails, and not the odd page later."""
    service = start(command=THREADLESS, WORKERS="1")
    assert service.wait() == 1
    told = "Worker 0 could not start: the system refuses it threads (raise TasksMax="
    assert service.log.count(told) == 1


def test_nothing_is_left_over(start, tmp_path):
    """Deaths and rolls leave no zombie and no open file, and nothing on the disk."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    service = start(
        WORKERS="2", DRAIN_DELAY_SECONDS="0", TMPDIR=str(temporary)
    ).wait_until_serving()
    parent = service.process.pid

    before = len(service.open_files(parent))
    for _ in range(4):
        until(partial(all_serve, service))
        victim = service.workers()[0]
        os.kill(victim, signal.SIGKILL)
        service.wait_for_workers(2, but=[victim])
    seen = len(service.log)
    service.signal(signal.SIGHUP)
    service.wait_for_log("Serving on", after=seen)
    service.wait_for_workers(2)
    until(lambda: len(service.open_files(parent)) == before)
    assert all(alive(worker) for worker in service.workers())
    assert sorted(map(len, map(service.open_files, service.workers())))[1] < 40
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
    assert not list(temporary.iterdir())


def test_the_parent_has_neither_loop_nor_connection(busy):
    """It has no epoll, no thread, and no socket but its listening and internal ones."""
    service = busy()
    with Crowd(service.url, 4):
        parent = service.process.pid
        names = service.open_files(parent)
        assert len(os.listdir(f"/proc/{parent}/task")) == 1
        workers = [service.open_files(pid) for pid in service.workers()]
        assert not [n for n in names if "eventpoll" in n or "eventfd" in n]
        assert all(any("eventpoll" in n for n in names) for names in workers)
        listening, wakeups, lines = 1, 2, 2
        sockets = [n for n in names if n.startswith("socket:")]
        assert len(sockets) == listening + wakeups + lines
        assert service.client_ports(parent) == set()


def test_no_directory_is_needed(start):
    """No place to write, and counts outlive a worker (docs/reliability.rst P47)."""
    nowhere = {"TMPDIR": "/nowhere", "RUNTIME_DIRECTORY": "/nowhere"}
    service = start(WORKERS="1", **nowhere).wait_until_serving()
    (victim,) = service.workers()
    assert service.get("/nowhere")[0] == 404
    counted = partial(service.figures, 'aims_requests_total{method="GET",route="not')
    until(lambda: sum(counted()) == 1)  # which may be a moment after the answer
    os.kill(victim, signal.SIGKILL)
    service.wait_for_workers(1, but=[victim])
    assert sum(counted()) == 1
