"""What clients do wrong, and more than the service can take."""

import resource
import socket
from contextlib import ExitStack, suppress
from threading import Thread

from ...waiting import until
from ..conftest import shell
from .bench import Bench, Provoke, ask_in_vain


def malformed(bench: Bench) -> tuple[str, str]:
    """Something else than HTTP arrives."""
    service = bench.serve()
    after = len(service.log)
    address = service.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Key : secret\r\n\r\n")
        client.recv(1000)
    return bench.told(service, after=after)


def limited(requests: int, path: str = "/api/quiz", **variables: str) -> Provoke:
    """So many requests of one student."""

    def provoke(bench: Bench) -> tuple[str, str]:
        service = bench.serve(**variables)
        after, token = len(service.log), bench.token()
        for _ in range(requests):
            service.get(path, token)
        return bench.told(service, after=after)

    return provoke


def many_connections(bench: Bench) -> tuple[str, str]:
    """More clients than there are files for."""
    service = bench.serve(shell("ulimit -n 300"))
    after = len(service.log)
    host, port = service.url.removeprefix("http://").split(":")
    with ExitStack() as stack:

        def refused() -> bool:
            """Connect some more, each of which has its place for a second at least; the
            last is answered or refused when the service has met those before it.
            """
            for _ in range(20):
                last = socket.create_connection((host, int(port)))
                stack.enter_context(last)
            with suppress(ConnectionError):  # it may be refused before it has asked
                last.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
                last.recv(1000)
            return "was refused" in service.log

        until(refused)
        return bench.told(service, after=after)


def no_files(bench: Bench) -> tuple[str, str]:
    """The system has no file for a connection, for a while."""
    service = bench.serve()
    service.get("/api/quiz", bench.token())  # a worker that has begun all its work
    (worker,) = service.workers()
    limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, limits[1]))
    after = len(service.log)
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))):
        told = bench.told(service, after=after)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)
    return told


def full_cache(bench: Bench) -> tuple[str, str]:
    """More students than the cache has room for."""
    service = bench.serve(CACHE_MAX_MB="1", CACHE_SHARED_MB="0")
    after = len(service.log)
    while "The cache is full" not in service.log:
        for _ in range(20):
            service.get("/api/all-attendance", bench.token())
    return bench.told(service, after=after)


def waiting(bench: Bench) -> tuple[str, str]:
    """One call at a time, and the platform takes a second over each."""
    service = bench.serve(MAX_CONCURRENT_REQUESTS="1", PREFETCH_ON_LOGIN="false")
    after = len(service.log)
    bench.platform.turn(faults={"*": {"delay": 1.5}})
    asking = [
        Thread(target=ask_in_vain, args=(service, bench.token())) for _ in range(3)
    ]
    for each in asking:
        each.start()
    told = bench.told(service, after=after)
    for each in asking:
        each.join()
    bench.platform.turn(clear="*")
    return told


def overloaded(bench: Bench) -> tuple[str, str]:
    """A page's calls one after the other, and half a second for all of them."""
    service = bench.serve(
        MAX_CONCURRENT_REQUESTS="1",
        REQUEST_TIMEOUT_SECONDS="0.5",
        PREFETCH_ON_LOGIN="false",
    )
    bench.platform.turn(faults={"*": {"delay": 0.1}})

    def refused() -> bool:
        """Ask for a page; the first call of a busy machine may take all the time."""
        service.get("/api/all-attendance", bench.token())
        return "(overloaded)" in service.log

    until(refused)
    told = bench.told_in(service, "(overloaded)")
    bench.platform.turn(clear="*")
    return told


FAULTS: dict[str, Provoke] = {
    "a message that is not HTTP": malformed,
    "no connection is left": many_connections,
    "no file descriptor is left for a connection": no_files,
    "a student sends too many requests": limited(3, RATE_LIMIT_PER_MINUTE="1"),
    "an address sends too many requests": limited(
        3, "/nowhere", RATE_LIMIT_PER_ADDRESS_PER_MINUTE="1"
    ),
    "somebody guesses METRICS_TOKEN": limited(11, "/metrics", METRICS_TOKEN="x"),
    "the cache is too small": full_cache,
    "calls wait for a slot": waiting,
    "the platform is too slow for the number of requests": overloaded,
}
