"""Values that are remembered while what they were made of lives."""

from hypothesis import given
from hypothesis import strategies as st

from aims_server.web.recently_made import RecentlyMade


class Source:
    """What something is made of."""


def test_the_least_recently_used_leave():
    """A use counts, so that what is hot stays."""
    made, sources = RecentlyMade[Source, bytes](20, len), [Source() for _ in range(3)]
    for source in (*sources[:2], sources[0], sources[2]):
        made.get(source, lambda _: b"x" * 10)
    kept = [made.get(sources[n], lambda _: b"new" * 3) for n in (0, 2, 1)]
    assert kept == [b"x" * 10, b"x" * 10, b"new" * 3]


def test_what_is_too_large_is_made_each_time():
    """A value that is too large is not remembered."""
    made, source = RecentlyMade[Source, bytes](20, len), Source()
    assert len(made.get(source, lambda _: b"x" * 21)) == 21
    assert (len(made), made.size) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30), st.booleans())))
def test_it_is_bounded_and_never_mixes_sources_up(steps):
    """Each source has its own value, and all have room."""
    made = RecentlyMade[Source, tuple[int, int]](50, lambda value: value[1])
    sources = {number: Source() for number in range(6)}
    for number, size, leaves in steps:
        assert made.get(sources[number], lambda _: (number, size))[0] == number  # noqa: B023  # called at once
        assert made.size <= 50
        if leaves:
            sources[number] = Source()
    sources.clear()
    assert (len(made), made.size) == (0, 0)
