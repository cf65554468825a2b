"""How long answers are served, and what a client is told of that."""

import pytest

from aims_server.cache.lifetimes import Lifetimes, freshness_lines
from aims_server.cache.store import Entry
from aims_server.web import Answer

LIFETIMES = Lifetimes(fresh=300, stale=1800, floor=15)


@pytest.mark.parametrize(
    ("made_at", "old", "ends"),
    [
        (1000.0, False, (1015.0, 1015.0)),
        (710.0, False, (1010.0, 1015.0)),
        (-1095.0, True, (1000.0, 1005.0)),
    ],
)
def test_an_incomplete_answer_lives_for_seconds(made_at, old, ends):
    """It ends 15 s after it was made, or with its oldest part."""
    assert LIFETIMES.ends(made_at, 1000.0, old=old, complete=False) == ends


def test_an_incomplete_answer_lives_no_longer_than_a_whole_one_is_fresh():
    """An old one that is whole is refreshed when it is asked for; this one is not."""
    lifetimes = Lifetimes(fresh=3, stale=1800, floor=0)
    ends = lifetimes.ends(1000.0, 1000.0, old=False, complete=False)
    assert ends == (1003.0, 1003.0)


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ((100.0, 400.0, 2200.0), (51, 248, 1800)),
        ((-200.0, 100.0, 1900.0), (351, 0, 1748)),
        ((100.0, 140.0, 140.0), (51, 0, 0)),  # its token ended meanwhile
        ((155.0, 455.0, 2255.0), (0, 303, 1800)),  # the store's clock was set back
    ],
)
def test_a_client_is_told_age_and_lifetimes(times, told):
    """Whole seconds, and never less than none."""
    entry = Entry(Answer(None, None), 0, b"owner", *times)
    assert freshness_lines(entry, "HIT", 151.5) == (
        "X-Cache: HIT\r\nAge: {}\r\n"
        "Cache-Control: private, max-age={}, stale-while-revalidate={}\r\n"
    ).format(*told)
