"""The rules of starts, exits and rolls, on a fake clock and without a process."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.primitives import WORKER_NUMBERS
from aims_server.process.rollout import (
    FAILED_STARTS,
    HUNG_SECONDS,
    MIN_SERVED_SECONDS,
    RETRY_SECONDS,
    START_SECONDS,
    Child,
    Rollout,
)


class Processes:
    """Does what a rollout asks for, as the supervisor would, at once and reliably."""

    def __init__(self, wanted: int) -> None:
        self.now = 100.0
        self.rollout = Rollout(wanted, clock=lambda: self.now)

    @property
    def starting(self) -> list[Child]:
        """Workers that are not ready yet."""
        return [c for c in self.rollout.serving if c.ready_at is None]

    @property
    def leaving(self) -> list[Child]:
        """Workers told to leave that still live."""
        return [c for c in self.rollout.children if c.leaving]

    def act(self) -> int:
        """Take all due steps; their number."""
        steps = 0
        while self.rollout.seconds_to_spawn == 0:
            self.rollout.add()
            steps += 1
        while self.rollout.retire_next() is not None:
            steps += 1
        return steps

    def make_ready(self) -> None:
        """All starts succeed, and those workers serve for a moment."""
        for child in self.starting:
            self.rollout.on_message(child, ready=True)
        self.now += 2 * MIN_SERVED_SECONDS

    def converge(self) -> None:
        """Let everything under way finish."""
        for _ in range(200):
            self.act()
            self.make_ready()
            for child in self.leaving:
                self.rollout.on_exit(child)
            self.now += 1.0
            if self.rollout.converged and not self.leaving:
                return
        raise AssertionError("it does not converge")


@pytest.fixture(name="pool")
def _pool() -> Processes:
    """Two workers that serve."""
    pool = Processes(2)
    pool.converge()
    return pool


def test_as_many_as_wanted_are_started_at_once():
    """A start waits for nothing; it is over when all of them serve."""
    pool = Processes(3)
    pool.act()
    assert [(c.number, c.rank) for c in pool.rollout.children] == [
        (0, 0),
        (1, 1),
        (2, 2),
    ]
    assert pool.rollout.seconds_to_spawn is None
    assert (pool.rollout.converged, pool.rollout.none_ready) == (False, True)
    pool.make_ready()
    assert (pool.rollout.converged, pool.rollout.none_ready) == (True, False)


def test_a_dead_worker_is_replaced_at_once(pool: Processes):
    """Its successor has its number and rank, and starts without a pause."""
    victim = pool.rollout.children[0]
    pool.rollout.on_exit(victim)
    assert pool.rollout.seconds_to_spawn == 0
    pool.act()
    successor = pool.starting[0]
    assert (successor.number, successor.rank) == (victim.number, victim.rank)


def test_a_roll_goes_one_by_one(pool: Processes):
    """One starts; once it has served the oldest leaves, and the next one starts."""
    first, second = pool.rollout.children
    pool.rollout.roll(2)
    assert pool.act() == 1
    assert not pool.leaving
    assert pool.act() == 0
    pool.make_ready()
    assert pool.act() == 1
    assert pool.leaving == [first]
    assert pool.act() == 1
    assert len(pool.starting) == 1
    pool.make_ready()
    pool.act()
    assert pool.leaving == [first, second]
    assert pool.rollout.converged


@pytest.mark.parametrize("wanted", [1, 2])
def test_no_roll_ends_old_workers_for_new_ones_that_die(pool: Processes, wanted: int):
    """The old workers go on, though the new ones were ready for a moment."""
    old = pool.rollout.serving
    pool.rollout.roll(wanted)
    while not pool.rollout.failing:
        pool.now += pool.rollout.seconds_to_spawn or 0
        pool.act()
        pool.rollout.on_message(pool.starting[0], ready=True)
        pool.act()
        pool.rollout.on_exit(pool.rollout.serving[-1])
        pool.act()
    assert pool.rollout.serving == old


def test_a_roll_right_after_the_start_ends_nothing_for_what_has_not_served():
    """The old worker is kept, though it may not have served either."""
    pool = Processes(1)
    pool.act()
    pool.rollout.on_message(pool.starting[0], ready=True)
    pool.rollout.roll(1)
    pool.act()
    pool.rollout.on_message(pool.starting[0], ready=True)
    pool.act()
    assert not pool.leaving


def test_a_second_roll_ends_first_what_has_not_served(pool: Processes):
    """The workers before the first roll are those that are known to serve."""
    old = pool.rollout.serving
    pool.rollout.roll(2)
    pool.act()
    (new,) = pool.starting
    pool.rollout.on_message(new, ready=True)
    pool.rollout.roll(2)
    pool.act()
    assert pool.leaving == [new]
    assert pool.rollout.serving[:2] == old


def test_an_old_worker_that_dies_in_a_roll_does_not_stop_it(pool: Processes):
    """The new worker counts as its successor, and the next old one is replaced."""
    pool.rollout.roll(2)
    pool.act()
    pool.rollout.on_exit(pool.rollout.children[0])
    assert pool.act() == 0
    pool.converge()
    assert {c.generation for c in pool.rollout.children} == {1}


def test_a_roll_within_a_roll_replaces_the_new_workers_too(pool: Processes):
    """In the end all are of the last generation."""
    pool.rollout.roll(2)
    pool.act()
    pool.rollout.roll(2)
    pool.converge()
    assert [c.generation for c in pool.rollout.children] == [2, 2]


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (3, 2)])
def test_the_number_changes_with_a_roll(before: int, after: int):
    """Ranks have no gap, and never fewer serve than the smaller number."""
    pool = Processes(before)
    pool.converge()
    pool.rollout.roll(after)
    for _ in range(50):
        pool.act()
        serving = [c for c in pool.rollout.serving if c.ready_at is not None]
        assert len(serving) >= min(before, after)
        for child in pool.starting + pool.leaving:
            if child.leaving:
                pool.rollout.on_exit(child)
            else:
                pool.rollout.on_message(child, ready=True)
        pool.now += 1.0
    assert sorted(c.rank for c in pool.rollout.children) == list(range(after))


def test_rolls_in_a_hurry_do_not_pile_up(pool: Processes):
    """While old ones drain, at most a bounded number of workers live."""
    for _ in range(20):
        pool.rollout.roll(2)
        for _ in range(4):
            pool.act()
            pool.make_ready()
    assert len(pool.rollout.children) <= 6


def test_no_more_workers_live_than_there_are_numbers():
    """What workers share has a place for each: a start waits until one has ended."""
    pool = Processes(WORKER_NUMBERS + 1)
    pool.act()
    assert len(pool.rollout.children) == WORKER_NUMBERS
    assert pool.rollout.seconds_to_spawn is None
    pool.make_ready()
    pool.now += 60.0
    pool.rollout.on_exit(pool.rollout.child(7))
    pool.act()
    assert pool.rollout.children[-1].number == 7


def test_a_worker_to_be_replaced_leaves_after_its_successor_is_ready(pool: Processes):
    """One worker's successor serves before it leaves; the others stay."""
    told, other = pool.rollout.children
    pool.rollout.replace(told)
    pool.act()
    assert not pool.leaving
    pool.make_ready()
    pool.act()
    assert pool.leaving == [told]
    pool.rollout.on_exit(told)
    assert other in pool.rollout.serving
    assert pool.rollout.converged


def test_failing_starts_are_tried_ever_more_slowly(pool: Processes):
    """The pauses double up to a bound, then it is called failing."""
    pool.rollout.on_exit(pool.rollout.children[0])
    pauses = []
    for _ in range(FAILED_STARTS):
        assert not pool.rollout.failing
        pool.act()
        pool.rollout.on_exit(pool.starting[0])
        pause = pool.rollout.seconds_to_spawn
        assert pause is not None
        pauses.append(pause)
        pool.now += pause
    assert pool.rollout.failing
    assert not pool.rollout.none_ready
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0])


def test_a_death_right_after_the_start_is_a_failed_start():
    """A worker that was ready for a moment only has failed to start."""
    pool = Processes(1)
    for _ in range(FAILED_STARTS):
        pool.now += pool.rollout.seconds_to_spawn or 0
        pool.act()
        pool.rollout.on_message(pool.starting[0], ready=True)
        pool.now += MIN_SERVED_SECONDS / 2
        pool.rollout.on_exit(pool.rollout.children[0])
    assert pool.rollout.failing
    assert pool.rollout.none_ready


def test_failures_long_ago_do_not_count(pool: Processes):
    """One successful start resets the count."""
    for _ in range(5):
        pool.rollout.on_exit(pool.rollout.children[-1])
        for _ in range(FAILED_STARTS - 1):
            pool.act()
            pool.rollout.on_exit(pool.starting[0])
            pool.now += 10
        pool.act()
        pool.make_ready()
        pool.now += 10
        pool.rollout.on_message(pool.rollout.children[-1], ready=False)
    assert not pool.rollout.failing


def test_healthy_old_workers_do_not_prove_that_starts_succeed(pool: Processes):
    """Their signs of life do not hide failing starts."""
    old = pool.rollout.children[0]
    pool.rollout.on_exit(pool.rollout.children[1])
    for _ in range(FAILED_STARTS):
        pool.now += pool.rollout.seconds_to_spawn or 0
        pool.act()
        pool.rollout.on_exit(pool.starting[0])
        pool.rollout.on_message(old, ready=False)
    assert pool.rollout.failing


def fail_to_start(pool: Processes) -> None:
    """Every start ends at once, until another try is pointless."""
    while not pool.rollout.failing:
        pool.now += pool.rollout.seconds_to_spawn or 0
        pool.act()
        pool.rollout.on_exit(pool.starting[0])


def test_a_roll_can_be_given_up(pool: Processes):
    """The old workers then count as current."""
    pool.rollout.roll(2)
    fail_to_start(pool)
    pool.rollout.give_up(2, 0)
    assert not pool.rollout.failing
    assert not pool.rollout.given_up
    assert pool.rollout.converged
    assert pool.rollout.seconds_to_spawn is None


def test_a_roll_that_has_begun_is_taken_back(pool: Processes):
    """A new worker that serves already gives way to one of the generation before, as
    soon as that can be started.
    """
    _, second = pool.rollout.children
    pool.rollout.roll(2)
    pool.act()
    pool.make_ready()
    pool.act()
    new = pool.rollout.serving[1]
    fail_to_start(pool)
    pool.rollout.give_up(2, 0)
    assert (pool.rollout.serving, new.generation) == ([second, new], 1)
    assert pool.rollout.seconds_to_spawn == RETRY_SECONDS
    pool.now += RETRY_SECONDS
    pool.act()
    assert not new.leaving
    pool.converge()
    assert [child.generation for child in pool.rollout.children] == [0, 0]
    assert second in pool.rollout.children


def test_a_roll_after_one_that_was_given_up_replaces_its_workers_too(pool: Processes):
    """No two rolls are one generation."""
    pool.rollout.roll(2)
    pool.act()
    pool.make_ready()
    pool.act()
    fail_to_start(pool)
    pool.rollout.give_up(2, 0)
    before = list(pool.rollout.children)
    pool.rollout.roll(2)
    pool.converge()
    assert not set(map(id, before)) & set(map(id, pool.rollout.children))


def test_failed_starts_are_counted_truly(pool: Processes):
    """Starts after giving up are counted as well, until one worker serves."""
    pool.rollout.on_exit(pool.rollout.children[0])
    for failed in range(FAILED_STARTS, FAILED_STARTS + 3):
        fail_to_start(pool)
        assert pool.rollout.failed_starts == failed
        assert pool.rollout.given_up == (failed > FAILED_STARTS)
        pool.rollout.give_up(2, 0)
    pool.now += RETRY_SECONDS
    pool.converge()
    for child in pool.rollout.children:
        pool.rollout.on_message(child, ready=False)
    assert not pool.rollout.given_up
    assert pool.rollout.failed_starts == 0


def test_a_missing_worker_is_tried_now_and_then(pool: Processes):
    """One try after each long pause while others serve, until one serves again."""
    pool.rollout.on_exit(pool.rollout.children[0])
    fail_to_start(pool)
    for _ in range(3):
        pool.rollout.give_up(2, 0)
        assert pool.rollout.seconds_to_spawn == RETRY_SECONDS
        pool.now += RETRY_SECONDS
        assert pool.act() == 1
        pool.rollout.on_exit(pool.starting[0])
        assert pool.rollout.failing
    pool.rollout.give_up(2, 0)
    pool.now += RETRY_SECONDS
    pool.converge()
    for child in pool.rollout.children:
        pool.rollout.on_message(child, ready=False)
    pool.rollout.on_exit(pool.rollout.children[0])
    pool.act()
    pool.rollout.on_exit(pool.starting[0])
    assert not pool.rollout.failing


def test_before_the_end_starts_have_all_their_tries(pool: Processes):
    """The last worker that served dies while another was given up for a while."""
    pool.rollout.on_exit(pool.rollout.children[0])
    fail_to_start(pool)
    pool.rollout.give_up(2, 0)
    pool.rollout.on_exit(pool.rollout.children[0])
    for _ in range(FAILED_STARTS - 1):
        pool.now += pool.rollout.seconds_to_spawn or 0
        pool.act()
        pool.rollout.on_exit(pool.starting[0])
        assert not pool.rollout.failing


def test_a_death_beside_others_gives_starts_no_more_tries():
    """One that served dies while a roll fails: the roll ends as soon as before."""
    pool = Processes(3)
    pool.converge()
    pool.rollout.on_exit(pool.rollout.children[0])
    fail_to_start(pool)
    pool.rollout.on_exit(pool.rollout.children[0])
    assert pool.rollout.failing


def test_a_silent_worker_is_found(pool: Processes):
    """One that sends nothing for too long is to be killed, others are not."""
    sending, silent = pool.rollout.children
    found = []
    for _ in range(int(HUNG_SECONDS) + 1):
        pool.now += 1.0
        pool.rollout.on_message(sending, ready=False)
        found += pool.rollout.unresponsive()
    assert found == [silent]


def test_a_start_that_never_ends_is_found():
    """A worker that never becomes ready is silent as well, but may take longer."""
    pool = Processes(1)
    pool.act()
    for _ in range(int(START_SECONDS)):
        pool.now += 1.0
        assert not pool.rollout.unresponsive()
    pool.now += 1.0
    assert pool.rollout.unresponsive() == pool.rollout.children


def test_a_parent_that_slept_kills_no_worker(pool: Processes):
    """Its own pause of an hour is not counted as the workers' silence."""
    pool.rollout.unresponsive()
    pool.now += 3600.0
    assert pool.rollout.unresponsive() == []


@given(st.integers(1, 5), st.lists(st.integers(0, 9), max_size=40), st.integers())
def test_whatever_happens_it_converges(wanted: int, events: list[int], seed: int):
    """Numbers never collide, no worker leaves before its successor is ready."""
    chance = random.Random(seed)
    pool = Processes(wanted)
    rollout = pool.rollout
    for event in events:
        someone = chance.choice(rollout.children) if rollout.children else None
        if event == 0:
            rollout.roll(chance.randint(1, 5))
        elif event in (1, 2) and someone:
            rollout.on_exit(someone)
        elif event == 3 and someone:
            rollout.replace(someone)
        elif event in (4, 5, 6, 7):
            for child in pool.starting[:1]:
                rollout.on_message(child, ready=True)
        else:
            pool.now += chance.random() * 3
        ready = {c.number for c in rollout.serving if c.ready_at is not None}
        pool.act()
        stay = {c.number for c in rollout.serving if c.ready_at is not None}
        assert len(stay) >= min(len(ready), rollout.wanted)
        numbers = [c.number for c in rollout.children]
        assert len(set(numbers)) == len(numbers)
        places = [(c.generation, c.rank) for c in rollout.serving if c.generation >= 0]
        assert len(set(places)) == len(places)
    pool.converge()
    assert sorted(c.rank for c in rollout.children) == list(range(rollout.wanted))


def test_ready_workers_may_be_killed_as_often_as_one_likes(pool: Processes):
    """SIGKILL as soon as it is ready: the next starts at once, and nobody gives up."""
    for _ in range(100):
        pool.rollout.on_exit(pool.rollout.serving[-1], killed=True)
        assert pool.rollout.seconds_to_spawn == 0
        pool.act()
        pool.rollout.on_message(pool.starting[0], ready=True)
    assert not pool.rollout.failing


def test_a_worker_killed_before_it_is_ready_has_failed_to_start():
    """It counts as a failed start, for example under a memory limit."""
    pool = Processes(1)
    for _ in range(FAILED_STARTS):
        pool.now += 10.0
        pool.act()
        pool.rollout.on_exit(pool.starting[0], killed=True)
    assert pool.rollout.failing


def test_a_roll_begins_at_once_after_failed_starts(pool: Processes):
    """With new settings starts may succeed, and have all their tries."""
    pool.rollout.on_exit(pool.rollout.children[0])
    fail_to_start(pool)
    pool.rollout.give_up(2, 0)
    pool.rollout.roll(2)
    assert pool.rollout.seconds_to_spawn == 0
    assert pool.rollout.failed_starts == 0
    assert not pool.rollout.given_up


def test_with_fewer_processors_the_newest_worker_leaves(pool: Processes):
    """A failing roll is given up when the parent may use fewer than at the start."""
    oldest = pool.rollout.children[0]
    pool.rollout.give_up(1, 0)
    pool.converge()
    assert pool.rollout.children == [oldest]


def test_a_roll_that_is_given_up_leaves_the_number_of_before(pool: Processes):
    """A roll that is given up keeps the old settings' number of workers."""
    pool.rollout.roll(4)
    fail_to_start(pool)
    pool.rollout.give_up(2, 0)
    pool.converge()
    assert len(pool.rollout.children) == 2


def test_a_worker_that_dies_long_after_failed_starts_is_replaced_at_once(
    pool: Processes,
):
    """The pause was that of another one, which could not be started."""
    first, second = pool.rollout.children
    pool.rollout.on_exit(first)
    fail_to_start(pool)
    pool.rollout.give_up(2, 0)
    assert pool.rollout.seconds_to_spawn == RETRY_SECONDS
    pool.rollout.on_exit(second)
    assert pool.rollout.seconds_to_spawn == 0


def test_only_what_ends_before_it_has_served_counts_as_a_failed_start(pool: Processes):
    """A worker that was told to leave does not count, nor one that has served."""
    assert not pool.rollout.on_exit(pool.rollout.children[0])
    pool.act()
    assert pool.rollout.on_exit(pool.starting[0])
    pool.now += 1.0
    pool.act()
    (starting,) = pool.starting
    pool.rollout.retire_all()
    assert not pool.rollout.on_exit(starting)


def test_a_hung_worker_is_found_once(pool: Processes):
    """While it is being killed it is not killed again; silence is counted anew."""
    pool.rollout.unresponsive()
    found = []
    for _ in range(round(1.5 * HUNG_SECONDS)):
        pool.now += 1.0
        found += pool.rollout.unresponsive()
    assert found == pool.rollout.children


def test_silence_is_counted_between_two_looks_alone(pool: Processes):
    """Silence adds up only between two checks, however many there are."""
    pool.rollout.unresponsive()
    for _ in range(30):
        pool.now += (HUNG_SECONDS - 2.0) / 30
        assert pool.rollout.unresponsive() == []
