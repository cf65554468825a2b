"""Faults of the service's own processes, and what they are told."""

import os
import signal
import sys
from contextlib import suppress
from functools import partial
from threading import Thread

from ...waiting import free_port, until
from ..conftest import BREAKABLE, THREADLESS, Service, shell
from .bench import Bench, Provoke, ask_in_vain

SOON_HUNG = """
import sys
from aims_server import cli
from aims_server.process import rollout
rollout.HUNG_SECONDS = 0.6
sys.exit(cli.main([]))
"""


def log_unread(bench: Bench) -> tuple[str, str]:
    """Its log is a pipe that nobody reads until later."""
    port = free_port()
    service = bench.start(
        shell("exec 2> >(until [ -e read ]; do sleep 0.05; done; exec cat)"),
        PORT=str(port),
        RATE_LIMIT_PER_ADDRESS_PER_MINUTE="1000000",
    )
    service.url = f"http://127.0.0.1:{port}"
    until(partial(_serves, service))
    while not sum(service.figures("aims_log_lines_lost_total")):
        for _ in range(200):
            service.get(f"/nowhere/{'x' * 400}")
    (service.directory / "read").touch()
    return bench.told_in(service, "log lines were lost")


def _serves(service: Service) -> bool:
    with suppress(OSError):
        return service.get("/health")[0] == 200
    return False


def reload_in_vain(bench: Bench) -> tuple[str, str]:
    """A setting has changed that only a restart takes."""
    return _reload(bench, "CACHE_SHARED_MB=8\n")


def _reload(bench: Bench, settings: str) -> tuple[str, str]:
    service = bench.serve()
    after = len(service.log)
    (service.directory / ".env").write_text(settings)
    service.signal(signal.SIGHUP)
    return bench.told(service, after=after)


def killed_worker(bench: Bench) -> tuple[str, str]:
    """As the kernel does when memory runs out."""
    service = bench.serve()
    after = len(service.log)
    os.kill(service.workers()[0], signal.SIGKILL)
    return bench.told(service, after=after)


def hung_worker(bench: Bench) -> tuple[str, str]:
    """Its loop stands still."""
    service = bench.serve((sys.executable, "-c", SOON_HUNG))
    # Any is taken for hung soon, perhaps before this one is stopped.
    after = service.log.index("\n", service.log.index("Serving on")) + 1
    with suppress(ProcessLookupError):
        for worker in service.workers():
            os.kill(worker, signal.SIGSTOP)
    return bench.told(service, after=after)


def wrong_reload(bench: Bench) -> tuple[str, str]:
    """A setting is wrong when HUP comes."""
    return _reload(bench, "CACHE_MAX_MB=much\n")


def without_threads(bench: Bench) -> tuple[str, str]:
    """The system refuses a new worker what it needs."""
    return bench.told_in(bench.start(THREADLESS), "could not start")


def breaking_start(bench: Bench) -> tuple[str, str]:
    """Workers cannot start, and none is left."""
    service = bench.serve(BREAKABLE)
    (service.directory / "broken").touch()
    os.kill(service.workers()[0], signal.SIGKILL)
    return bench.told_in(service, "No worker can be started")


def breaking_reload(bench: Bench) -> tuple[str, str]:
    """New workers cannot start; the old ones serve."""
    service = bench.serve(BREAKABLE)
    (service.directory / "broken").touch()
    service.signal(signal.SIGHUP)
    return bench.told_in(service, "New workers cannot be started")


def signalled(*numbers: signal.Signals) -> Provoke:
    """Signals one after the other; what the last one is told with."""

    def provoke(bench: Bench) -> tuple[str, str]:
        service = bench.serve(DRAIN_DELAY_SECONDS="30")
        after = 0
        for number in numbers:
            after = len(service.log)
            service.signal(number)
            bench.told(service, after=after)
        return bench.told(service, after=after)

    return provoke


def grace_over(bench: Bench) -> tuple[str, str]:
    """A call hangs while the service stops."""
    service = bench.serve(DRAIN_DELAY_SECONDS="0", SHUTDOWN_GRACE_SECONDS="0.3")
    bench.platform.turn(hold="*")
    bench.platform.turn(reset=True)
    asking = Thread(target=ask_in_vain, args=(service, bench.token()))
    asking.start()
    until(lambda: bench.platform.counters()["calls"])
    service.signal(signal.SIGTERM)
    told = bench.told_in(service, "SHUTDOWN_GRACE_SECONDS .* is over")
    asking.join()
    bench.platform.turn(release="*")
    return told


def worker_told(bench: Bench) -> tuple[str, str]:
    """SIGTERM to one worker alone."""
    service = bench.serve()
    after = len(service.log)
    os.kill(service.workers()[0], signal.SIGTERM)
    return bench.told(service, after=after)


FAULTS: dict[str, Provoke] = {
    "its log is blocked for a while": log_unread,
    "a worker is killed, perhaps for lack of memory": killed_worker,
    "a worker hangs": hung_worker,
    "a worker gets SIGTERM": worker_told,
    "a worker cannot start": without_threads,
    "no worker can start": breaking_start,
    "no new worker can start at a reload": breaking_reload,
    "wrong settings at a reload": wrong_reload,
    "a setting that a reload cannot change": reload_in_vain,
    "a reload": signalled(signal.SIGHUP),
    "a stop": signalled(signal.SIGTERM),
    "a second SIGTERM": signalled(signal.SIGTERM, signal.SIGTERM),
    "requests do not end in time at a stop": grace_over,
}
