"""docs/faults-and-logs.rst is what the service prints."""

import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from .faults import FAULTS
from .faults.bench import Bench
from .faults.page import PAGE, without_chance

pytestmark = pytest.mark.process

ROW = re.compile(r"   \* - (.+)\n     - (\w+)\n     - ``(.+)``\n")
WRITTEN = {
    fault: (level, line)
    for fault, level, line in ROW.findall(PAGE.read_text(encoding="utf-8"))
}
# Each takes seconds, and has a test of its own beside this one.
SLOW = {
    "no worker can start",
    "no new worker can start at a reload",
    "calls wait for a slot",
    "it speaks no TLS",
}


@pytest.fixture(name="bench", scope="module")
def _bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack)


def test_every_fault_has_its_row():
    """The page has all of them and no other."""
    assert set(WRITTEN) == {name for group in FAULTS.values() for name in group}
    assert len(WRITTEN) >= 25


@pytest.mark.parametrize(
    ("group", "fault"),
    [(group, name) for group in FAULTS for name in FAULTS[group] if name not in SLOW],
)
def test_it_is_told_as_the_page_says(bench: Bench, group: str, fault: str):
    """`python -m tests.process.faults` writes the page anew."""
    bench.platform.turn(clear="*", release="*")
    level, line = FAULTS[group][fault](bench)
    assert (level, without_chance(line)) == WRITTEN[fault]
