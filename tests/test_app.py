"""What the workers of a machine share, and how one of them ends."""

import base64
import logging
import time
from pathlib import Path

import pytest

from aims_server.app import Machine
from aims_server.app.kept_pages import open_store
from aims_server.app.limits import request_limits
from aims_server.config import Settings
from aims_server.logs import RateLimitedLog
from aims_server.metrics import Metrics

CA_FILE = Path(__file__).parent / "upstream" / "transport" / "tls" / "self_signed.pem"
KEPT = {
    "shared pages": ({"CACHE_SHARED_MB": "256"}, 20_000),
    "pages of each worker": (
        {"CACHE_SHARED_MB": "0", "CACHE_MAX_MB": "64", "WORKERS": "8"},
        30_000,
    ),
}


@pytest.mark.parametrize(("variables", "students"), KEPT.values(), ids=KEPT)
def test_students_whose_pages_have_room_keep_them(variables, students):
    """The epochs of all but one in a thousand last: sets of eight fill by chance."""
    epochs = Machine(Settings.from_mapping(variables)).epochs
    begun = [epochs.begin(b"%032d" % student) for student in range(students)]
    assert sum(map(epochs.keep, begun)) >= 0.999 * students


@pytest.mark.gen_test
async def test_a_worker_that_ends_tells_what_it_has_counted(worker, access_lines):
    """Nobody else knows of the lines that it has held back."""
    for _ in range(3):
        worker.events.event("odd", logging.WARNING, "It happened")
    await worker.end_work()
    *_, told = access_lines.told()
    assert told["message"].startswith("It happened: 2 more")


@pytest.mark.gen_test
async def test_with_a_store_no_login_counts_twice(tmp_path):
    """The store itself is asked about each, so it is not in the sums as well; nor is a
    guess of METRICS_TOKEN, which each machine counts alone.
    """
    secret = base64.b64encode(bytes(32)).decode()
    variables = {"STORE_URL": f"unix://{tmp_path}/none", "STORE_SECRET": secret}
    settings = Settings.from_mapping(variables)
    machine, log = Machine(settings), RateLimitedLog(logging.getLogger())
    clocks = time.monotonic, time.time
    store = open_store(settings, machine, Metrics().sharing, log, *clocks)
    assert store is not None
    summed = request_limits(settings, machine, store).summed
    assert [limiter.name for limiter in summed] == [
        *("student", "address", "login-failures")
    ]
    await store.close()


def test_without_a_store_no_charge_is_noted_for_other_machines():
    """Nobody would ever send it."""
    settings = Settings()
    assert request_limits(settings, Machine(settings), None).summed == []


def test_the_machine_trusts_the_file_of_store_ca_file():
    """And no authority of the system."""
    settings = Settings.from_mapping(
        {
            "STORE_URL": "rediss://store.example",
            "STORE_SECRET": base64.b64encode(bytes(32)).decode(),
            "STORE_CA_FILE": str(CA_FILE),
        }
    )
    store = Machine(settings).store
    assert store is not None
    assert store.tls is not None
    assert len(store.tls.get_ca_certs()) == 1


def test_a_secret_without_a_store_opens_none():
    """It is only warned of."""
    secret = base64.b64encode(bytes(32)).decode()
    assert Machine(Settings.from_mapping({"STORE_SECRET": secret})).store is None
