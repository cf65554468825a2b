"""Faults of the store that machines share."""

import os
import signal
import tempfile
from pathlib import Path

from ...store.server import StoreServer
from ...waiting import free_port, until
from ..conftest import Service
from .bench import Bench, Provoke, ask_in_vain

SECRET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def gone(words: str) -> Provoke:
    """Nobody listens where the store should be."""

    def provoke(bench: Bench) -> tuple[str, str]:
        return bench.told_in(_service(bench, "aims:canary@", 9), words)

    return provoke


def frozen(bench: Bench) -> tuple[str, str]:
    """It takes connections and answers nothing."""
    store = _store(bench)
    os.kill(store.pid, signal.SIGSTOP)
    return bench.told_in(_service(bench, "", store.port), "The store at")


def locked(bench: Bench) -> tuple[str, str]:
    """It has another password."""
    store = _store(bench)
    service = _service(bench, "aims:canary@", store.port)
    return bench.told_in(service, "The store at")


def full(bench: Bench) -> tuple[str, str]:
    """It has no room, and may forget nothing."""
    store = _store(bench, "--maxmemory", "1", "--maxmemory-policy", "noeviction")
    service = _service(bench, "", store.port).wait_until_serving()
    words = "refuses a command"

    def refused() -> bool:  # the first pages may come before the store is reached
        ask_in_vain(service, bench.token())
        return words in service.log

    until(refused)
    return bench.told_in(service, words)


def _store(bench: Bench, *options: str) -> StoreServer:
    directory = bench.stack.enter_context(tempfile.TemporaryDirectory())
    store = StoreServer(Path(directory), *options, port=free_port())
    bench.stack.callback(store.kill)
    store.start()
    return store


def _service(bench: Bench, user: str, port: int) -> Service:
    url = f"redis://{user}127.0.0.1:{port}/0"
    # No answer comes late on a busy machine.
    patience = {"STORE_TIMEOUT_MS": "2000"}
    return bench.start(STORE_URL=url, STORE_SECRET=SECRET, **patience)


FAULTS: dict[str, Provoke] = {
    "it cannot be reached": gone("The store at"),
    "it is frozen": frozen,
    "it has another password": locked,
    "it is full, with maxmemory-policy noeviction": full,
    "other machines' refusals are not known": gone("Tokens refused on"),
}
