"""Numbers in mapped files: what is written, read, gone on with and let go of."""

import math
import os
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.mmap_dict import MmapedDict

from aims_server.metrics.mmap_file import MmapFile, read_mmap_file

NUMBERS = st.dictionaries(st.text(max_size=40), st.floats(allow_nan=False), max_size=30)


@pytest.fixture(name="path")
def _path(tmp_path):
    return tmp_path / "counter_0.db"


@settings(max_examples=50)
@given(st.lists(NUMBERS, min_size=1, max_size=4))
def test_a_file_is_read_as_it_was_written_life_after_life(tmp_path_factory, lives):
    """We and the library read the last number of each key, in the order of coming."""
    path = tmp_path_factory.mktemp("cells") / "counter_0.db"
    written = {}
    for numbers in lives:
        cells = MmapFile(path)
        for key, number in numbers.items():
            cells.cell(key.encode())[0] = written[key] = number
        assert [(key.decode(), number) for key, number in cells.items()] == list(
            written.items()
        )
        cells.close()
    assert [(key.decode(), n) for key, n in read_mmap_file(path)] == list(
        written.items()
    )
    library = MmapedDict.read_all_values_from_file(path)
    assert [(key, number) for key, number, _, _ in library] == list(written.items())


@pytest.mark.parametrize("in_file", [True, False])
def test_cells_outlive_the_growth_of_their_file(path, in_file):
    """What was bound before the file had to grow is still counted in."""
    cells = MmapFile(path if in_file else None)
    first = cells.cell(b"first")
    bound = [cells.cell(b"%01000d" % number) for number in range(1000)]
    first[0] += 1
    for number, cell in enumerate(bound):
        cell[0] += number
    expected = [1, *range(1000)]
    assert [number for _, number in cells.items()] == expected
    if in_file:
        assert path.stat().st_size > 1000 * 1000
        assert [number for _, number in read_mmap_file(path)] == expected
        assert MmapFile(path).cell(b"first")[0] == 1
    cells.close()


def test_a_key_has_one_cell(path):
    """Who asks for a key again counts in the same number."""
    cells = MmapFile(path)
    cells.cell(b"key")[0] += 1
    cells.cell(b"key")[0] += 1
    assert list(read_mmap_file(path)) == [(b"key", 2)]
    cells.close()


@pytest.mark.parametrize("in_file", [True, False])
def test_closing_lets_go_of_file_and_cells(path, in_file):
    """No open file is left behind, and a cell takes no more."""
    before = os.listdir("/proc/self/fd")
    cells = MmapFile(path if in_file else None)
    cell = cells.cell(b"key")
    cells.close()
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(ValueError, match="released"):
        cell[0] += 1


@pytest.mark.process
def test_a_number_is_never_seen_half_written(path):
    """While another process writes, a reader finds one of its numbers, and no zero."""
    # Their bytes differ throughout, so half of each would be a third number.
    numbers = {math.pi, -1 / 3}
    MmapFile(path).cell(b"key")[0] = math.pi
    pid = os.fork()
    if pid == 0:
        cell = MmapFile(path).cell(b"key")
        while True:  # until killed
            cell[0] = -1 / 3
            cell[0] = math.pi
    try:
        seen = {n for _ in range(20_000) for _, n in read_mmap_file(path)}
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert seen == numbers


@pytest.mark.parametrize("in_file", [True, False])
def test_cells_that_are_gone_hold_no_file(path, in_file):
    """Closed or only forgotten."""
    before = len(os.listdir("/proc/self/fd"))
    cells = MmapFile(path if in_file else None)
    cells.cell(b"key")[0] = 1.0
    assert len(os.listdir("/proc/self/fd")) > before
    del cells
    assert len(os.listdir("/proc/self/fd")) == before
