"""What the workers of a machine share, and how one of them ends."""

import logging

import pytest

from aims_server.app import Machine
from aims_server.config import Settings

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
