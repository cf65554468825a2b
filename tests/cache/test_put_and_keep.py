"""A page that a lease's holder puts, and one that is kept without a lease, at once: the
one is written between the other's look at the directory and its step there.
"""

import pytest

from aims_server.cache.levels import Found, Page, Want
from aims_server.cache.shared_memory import SharedMemoryCache
from aims_server.primitives.epochs import Epochs

ANN = b"a" * 32
TO_BE_FILLED = Want(max_age=-1)


class Both:
    """One student's page, its lease taken, and the two ways to give it a page."""

    def __init__(self, clock, monkeypatch):
        self.now = clock.now
        self.epochs = Epochs()
        self.cache = SharedMemoryCache(1_000_000, self.epochs, clock=clock)
        self.lease = self.take().lease
        self.monkeypatch = monkeypatch

    def page(self, body, age, servable=600):
        """A page made so many seconds ago."""
        made_at = self.now - age
        return Page(body, made_at, made_at + 60, made_at + servable)

    def put(self, age, **times):
        """The holder of the lease has the page."""
        return self.cache.put(self.lease, self.page(b"put", age, **times))

    def keep(self, age):
        """Another has it without a lease."""
        epoch = self.epochs.begin(ANN)
        return self.cache.keep(b"k", ANN, epoch, self.page(b"kept", age))

    def release(self):
        """The holder gives up."""
        self.cache.release(self.lease)

    def take(self):
        """Another asker, which is to fill the page anew."""
        return self.cache.take(b"k", ANN, TO_BE_FILLED, seconds=5.0)

    def before_the_next_step(self, action):
        """Do this when the directory has been looked at, and is to be changed."""
        directory = self.cache._directory
        replace = directory.replace

        def interrupted(*step):
            self.monkeypatch.setattr(directory, "replace", replace)
            action()
            return replace(*step)

        self.monkeypatch.setattr(directory, "replace", interrupted)


@pytest.fixture(name="both")
def _both(clock, monkeypatch):
    return Both(clock, monkeypatch)


@pytest.mark.parametrize(("put_age", "kept_age"), [(0, 1), (1, 0)])
def test_a_page_kept_while_another_is_put_takes_no_lease(both, put_age, kept_age):
    """The lease ends with its holder's page, though its word has changed meanwhile."""
    both.before_the_next_step(lambda: both.keep(kept_age))
    assert both.put(put_age)
    taken = both.take()
    assert (taken.found, taken.page.body) == (Found.NONE, b"put")


@pytest.mark.parametrize(
    ("put_age", "kept_age", "body"), [(0, 1, b"put"), (1, 0, b"kept")]
)
def test_a_page_put_while_another_is_kept_is_replaced_by_a_newer(
    both, put_age, kept_age, body
):
    """The lease, which was there at the look, does not come back with it."""
    both.before_the_next_step(lambda: both.put(put_age))
    assert both.keep(kept_age) == (body == b"kept")
    taken = both.take()
    assert (taken.found, taken.page.body) == (Found.NONE, body)


def test_a_lease_given_up_while_a_page_is_kept_does_not_come_back(both):
    """A lease released while a page is kept without one does not return; the page
    stays.
    """
    both.before_the_next_step(both.release)
    assert both.keep(0)
    taken = both.take()
    assert (taken.found, taken.page.body) == (Found.NONE, b"kept")


def test_a_page_kept_while_the_lease_is_given_up_stays(both):
    """The newer word in its slot, which names the lease, is not undone."""
    both.before_the_next_step(lambda: both.keep(0))
    both.release()
    taken = both.take()
    assert (taken.found, taken.page.body) == (Found.NONE, b"kept")


def test_an_older_page_kept_while_the_lease_is_held_changes_nothing(both):
    """The page before the lease is found behind it, and is the newer one."""
    both.cache.take(b"another", ANN, TO_BE_FILLED, seconds=5.0)  # no two are in step
    assert both.put(1)
    assert both.take().lease is not None
    assert not both.keep(2)
    assert both.cache.find(b"k", ANN).body == b"put"
    assert both.keep(0)
    assert both.cache.find(b"k", ANN).body == b"kept"


def test_a_page_that_has_ended_keeps_no_older_one_out(both):
    """An incomplete page ends soon after a whole one that was made before it."""
    assert both.put(1, servable=1)
    assert both.keep(2)
    assert both.cache.find(b"k", ANN).body == b"kept"


def test_only_a_page_that_is_put_says_that_its_token_was_good(both):
    """One that is kept without a lease may be a step of work that is refused."""
    assert both.keep(1)
    assert not both.epochs.end(ANN)
    both.lease = both.take().lease
    assert both.put(0)
    assert both.epochs.end(ANN)
