"""Doubles in mapped files: written, read, continued and closed."""

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
    """We and the library read the last number of each key, in the order of addition."""
    path = tmp_path_factory.mktemp("file") / "counter_0.db"
    written = {}
    for numbers in lives:
        file = MmapFile(path)
        for key, number in numbers.items():
            file.double(key.encode())[0] = written[key] = number
        assert [(key.decode(), number) for key, number in file.items()] == list(
            written.items()
        )
        file.close()
    assert [(key.decode(), n) for key, n in read_mmap_file(path)] == list(
        written.items()
    )
    library = MmapedDict.read_all_values_from_file(path)
    assert [(key, number) for key, number, _, _ in library] == list(written.items())


@pytest.mark.parametrize("in_file", [True, False])
def test_doubles_outlive_the_growth_of_their_file(path, in_file):
    """What was bound before the file had to grow is still counted in."""
    file = MmapFile(path if in_file else None)
    first = file.double(b"first")
    bound = [file.double(b"%01000d" % number) for number in range(1000)]
    first[0] += 1
    for number, double in enumerate(bound):
        double[0] += number
    expected = [1, *range(1000)]
    assert [number for _, number in file.items()] == expected
    if in_file:
        assert path.stat().st_size > 1000 * 1000
        assert [number for _, number in read_mmap_file(path)] == expected
        assert MmapFile(path).double(b"first")[0] == 1
    file.close()


def test_a_key_has_one_double(path):
    """Who asks for a key again counts in the same number."""
    file = MmapFile(path)
    file.double(b"key")[0] += 1
    file.double(b"key")[0] += 1
    assert list(read_mmap_file(path)) == [(b"key", 2)]
    file.close()


@pytest.mark.parametrize("in_file", [True, False])
def test_closing_releases_file_and_doubles(path, in_file):
    """No open file is left behind, and a double cannot be written to."""
    before = os.listdir("/proc/self/fd")
    file = MmapFile(path if in_file else None)
    double = file.double(b"key")
    file.close()
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(ValueError, match="released"):
        double[0] += 1


@pytest.mark.process
def test_a_number_is_never_seen_half_written(path):
    """While another process writes, a reader finds one of its numbers, and no zero."""
    # Their bytes differ throughout, so half of each would be a third number.
    numbers = {math.pi, -1 / 3}
    MmapFile(path).double(b"key")[0] = math.pi
    pid = os.fork()
    if pid == 0:
        double = MmapFile(path).double(b"key")
        while True:  # until killed
            double[0] = -1 / 3
            double[0] = math.pi
    try:
        seen = {n for _ in range(20_000) for _, n in read_mmap_file(path)}
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert seen == numbers


@pytest.mark.parametrize("in_file", [True, False])
def test_a_forgotten_file_is_closed(path, in_file):
    """Closed or only forgotten."""
    before = len(os.listdir("/proc/self/fd"))
    file = MmapFile(path if in_file else None)
    file.double(b"key")[0] = 1.0
    assert len(os.listdir("/proc/self/fd")) > before
    del file
    assert len(os.listdir("/proc/self/fd")) == before
