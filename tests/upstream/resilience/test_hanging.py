"""Which calls hang. What becomes of them is in policy/test_hanging.py."""

import pytest

from aims_server.upstream.resilience.hanging import Hanging, NewestAnswer


@pytest.fixture(name="newest")
def _newest():
    """The newest answer of all endpoints."""
    return NewestAnswer()


@pytest.fixture(name="cards")
def _cards(clock, newest):
    """The calls to one endpoint; a request waits for ten seconds at most."""
    hanging = Hanging(10.0, newest, clock=clock)
    hanging.first_began()
    return hanging


@pytest.fixture(name="quizzes")
def _quizzes(clock, newest):
    return Hanging(10.0, newest, clock=clock)


def answered(hanging, clock, *, seconds):
    """A call that took so long is answered now."""
    hanging.answered(clock() - seconds)


def test_each_answer_ends_the_silence(clock, cards):
    """However long some call has been under way at every moment: else each call that a
    quicker one overtakes would hang.
    """
    for _ in range(20):
        clock.now += 1.0
        answered(cards, clock, seconds=0.1)
    assert cards.silent_seconds == 0.0
    assert not cards.is_hanging(clock() - 5.0)


def test_a_call_slower_than_a_newer_one_is_not_overtaken(clock, cards):
    """Only one that has taken far longer is."""
    clock.now += 20.0
    answered(cards, clock, seconds=5.0)
    assert not cards.is_overtaken(clock() - 12.0)
    assert cards.is_overtaken(clock() - 16.0)


def test_an_endpoint_that_answers_slowly_is_not_measured_by_another(
    clock, cards, quizzes
):
    """Its own answer is no older than ten seconds, and as slow as this call."""
    clock.now += 12.0
    answered(cards, clock, seconds=12.0)
    answered(quizzes, clock, seconds=0.1)
    assert not cards.is_hanging(clock() - 11.0)


def test_an_endpoint_hangs_alone(clock, cards, quizzes):
    """The platform answers others in far less time than its calls have taken."""
    clock.now += 12.0
    answered(quizzes, clock, seconds=5.0)
    assert not cards.is_hanging(clock() - 12.0)
    answered(quizzes, clock, seconds=0.1)
    assert cards.is_hanging(clock() - 12.0)
