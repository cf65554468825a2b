"""The rules of births, deaths and rolls, on a fake clock and without a process."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.process.rollout import (
    FAILED_STARTS,
    HUNG_SECONDS,
    START_SECONDS,
    YOUNG_SECONDS,
    Child,
    Rollout,
)


class House:
    """Does what a rollout says, as the supervisor would, at once and without fail."""

    def __init__(self, wanted: int) -> None:
        self.now = 100.0
        self.rollout = Rollout(wanted, clock=lambda: self.now)

    @property
    def starting(self) -> list[Child]:
        """Those that do not serve yet."""
        return [c for c in self.rollout.serving if c.ready_at is None]

    @property
    def leaving(self) -> list[Child]:
        """Those told to go, which live still."""
        return [c for c in self.rollout.children if c.leaving]

    def act(self) -> int:
        """Take all steps that are due; how many."""
        steps = 0
        while self.rollout.seconds_to_spawn == 0:
            self.rollout.enter()
            steps += 1
        while (leaver := self.rollout.next_to_leave()) is not None:
            leaver.leaving = True
            steps += 1
        return steps

    def make_ready(self) -> None:
        """All births succeed."""
        for child in self.starting:
            self.rollout.heard(child, ready=True)

    def settle(self) -> None:
        """Let everything that has begun come to its end."""
        for _ in range(200):
            self.act()
            self.make_ready()
            for child in self.leaving:
                self.rollout.ended(child)
            self.now += 1.0
            if self.rollout.converged and not self.leaving:
                return
        raise AssertionError("it does not come to rest")


@pytest.fixture(name="house")
def _house() -> House:
    """Two workers that serve."""
    house = House(2)
    house.settle()
    return house


def test_as_many_as_wanted_are_born_at_once():
    """A start waits for nothing."""
    house = House(3)
    house.act()
    assert [(c.slot, c.rank) for c in house.rollout.children] == [
        (0, 0),
        (1, 1),
        (2, 2),
    ]
    assert house.rollout.seconds_to_spawn is None


def test_the_dead_are_replaced_at_once_in_their_place(house: House):
    """Who served a while has a successor without a pause, of its slot and rank."""
    victim = house.rollout.children[0]
    house.rollout.ended(victim)
    assert house.rollout.seconds_to_spawn == 0
    house.act()
    successor = house.starting[0]
    assert (successor.slot, successor.rank) == (victim.slot, victim.rank)


def test_a_roll_goes_one_by_one(house: House):
    """One is born; when it serves, the eldest leaves; only then the next is born."""
    first, second = house.rollout.children
    house.rollout.roll(2)
    assert house.act() == 1
    assert not house.leaving
    assert house.act() == 0
    house.make_ready()
    assert house.act() == 1
    assert house.leaving == [first]
    assert house.act() == 1
    assert len(house.starting) == 1
    house.make_ready()
    house.act()
    assert house.leaving == [first, second]
    assert house.rollout.converged


def test_an_elder_that_dies_in_a_roll_does_not_stop_it(house: House):
    """Its newcomer counts in its spec and the next elder is replaced."""
    house.rollout.roll(2)
    house.act()
    house.rollout.ended(house.rollout.children[0])
    house.settle()
    assert {c.generation for c in house.rollout.children} == {1}


def test_a_roll_within_a_roll_replaces_the_newcomers_too(house: House):
    """In the end all are of the last generation."""
    house.rollout.roll(2)
    house.act()
    house.rollout.roll(2)
    house.settle()
    assert [c.generation for c in house.rollout.children] == [2, 2]


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (3, 2)])
def test_the_number_changes_with_a_roll(before: int, after: int):
    """More or fewer, ranks without a gap, and never fewer serve than the lesser."""
    house = House(before)
    house.settle()
    house.rollout.roll(after)
    for _ in range(50):
        house.act()
        serving = [c for c in house.rollout.serving if c.ready_at is not None]
        assert len(serving) >= min(before, after)
        for child in house.starting + house.leaving:
            if child.leaving:
                house.rollout.ended(child)
            else:
                house.rollout.heard(child, ready=True)
    assert sorted(c.rank for c in house.rollout.children) == list(range(after))


def test_rolls_in_a_hurry_do_not_pile_up(house: House):
    """As long as the old ones have not gone, no more than twice as many live."""
    for _ in range(20):
        house.rollout.roll(2)
        for _ in range(4):
            house.act()
            house.make_ready()
    assert len(house.rollout.children) <= 6


def test_who_is_told_to_end_is_replaced_first(house: House):
    """One worker's successor serves before it leaves; the others stay."""
    told, other = house.rollout.children
    house.rollout.replace(told)
    house.act()
    assert not house.leaving
    house.make_ready()
    house.act()
    assert house.leaving == [told]
    house.rollout.ended(told)
    assert other in house.rollout.serving
    assert house.rollout.converged


def test_failing_starts_are_tried_ever_more_slowly(house: House):
    """The pauses double up to a bound, then it is called failing."""
    house.rollout.ended(house.rollout.children[0])
    pauses = []
    for _ in range(FAILED_STARTS):
        assert not house.rollout.failing
        house.act()
        house.rollout.ended(house.starting[0])
        pause = house.rollout.seconds_to_spawn
        assert pause is not None
        pauses.append(pause)
        house.now += pause
    assert house.rollout.failing
    assert not house.rollout.none_ready
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0])


def test_a_death_right_after_the_start_is_a_failed_start():
    """To serve for a moment proves nothing."""
    house = House(1)
    for _ in range(FAILED_STARTS):
        house.now += house.rollout.seconds_to_spawn or 0
        house.act()
        house.make_ready()
        house.now += YOUNG_SECONDS / 2
        house.rollout.ended(house.rollout.children[0])
    assert house.rollout.failing
    assert house.rollout.none_ready


def test_failures_long_ago_do_not_count(house: House):
    """One successful birth after them and the row begins anew."""
    for _ in range(5):
        house.rollout.ended(house.rollout.children[-1])
        for _ in range(FAILED_STARTS - 1):
            house.act()
            house.rollout.ended(house.starting[0])
            house.now += 10
        house.act()
        house.make_ready()
        house.now += 10
        house.rollout.heard(house.rollout.children[-1], ready=False)
    assert not house.rollout.failing


def test_the_health_of_elders_proves_no_birth(house: House):
    """Their signs of life do not hide that births fail."""
    elder = house.rollout.children[0]
    house.rollout.ended(house.rollout.children[1])
    for _ in range(FAILED_STARTS):
        house.now += house.rollout.seconds_to_spawn or 0
        house.act()
        house.rollout.ended(house.starting[0])
        house.rollout.heard(elder, ready=False)
    assert house.rollout.failing


def test_a_roll_may_be_called_off(house: House):
    """The old ones are then as good as new."""
    house.rollout.roll(2)
    house.act()
    house.rollout.ended(house.starting[0])
    house.rollout.end_roll(2)
    assert house.rollout.converged
    assert house.rollout.seconds_to_spawn is None


def test_the_silent_are_found(house: House):
    """Whoever is not heard for its patience is to be killed, others are not."""
    loud, silent = house.rollout.children
    found = []
    for _ in range(int(HUNG_SECONDS) + 1):
        house.now += 1.0
        house.rollout.heard(loud, ready=False)
        found += house.rollout.unresponsive()
    assert found == [silent]


def test_a_birth_that_never_ends_is_found():
    """A worker that does not come to serve is silent as well."""
    house = House(1)
    house.act()
    found = []
    for _ in range(int(START_SECONDS) + 1):
        house.now += 1.0
        found += house.rollout.unresponsive()
    assert found == house.rollout.children


def test_a_parent_that_slept_blames_nobody(house: House):
    """Stopped for an hour, it first listens before it counts silence."""
    house.rollout.unresponsive()
    house.now += 3600.0
    assert house.rollout.unresponsive() == []


@given(st.integers(1, 5), st.lists(st.integers(0, 9), max_size=40), st.integers())
def test_whatever_happens_it_comes_to_rest(wanted: int, events: list[int], seed: int):
    """Places never collide, nobody leaves for whom nobody serves, the end is right."""
    chance = random.Random(seed)
    house = House(wanted)
    rollout = house.rollout
    for event in events:
        someone = chance.choice(rollout.children) if rollout.children else None
        if event == 0:
            rollout.roll(chance.randint(1, 5))
        elif event in (1, 2) and someone:
            rollout.ended(someone)
        elif event == 3 and someone:
            rollout.replace(someone)
        elif event in (4, 5, 6, 7):
            for child in house.starting[:1]:
                rollout.heard(child, ready=True)
        else:
            house.now += chance.random() * 3
        ready = {c.slot for c in rollout.serving if c.ready_at is not None}
        house.act()
        stay = {c.slot for c in rollout.serving if c.ready_at is not None}
        assert len(stay) >= min(len(ready), rollout.wanted)
        slots = [c.slot for c in rollout.children]
        assert len(set(slots)) == len(slots)
        places = [(c.generation, c.rank) for c in rollout.serving if c.generation >= 0]
        assert len(set(places)) == len(places)
    house.settle()
    assert sorted(c.rank for c in rollout.children) == list(range(rollout.wanted))
