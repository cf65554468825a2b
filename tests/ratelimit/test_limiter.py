"""Rate limits on a clock that the test moves, and in real processes."""

import os
import select
import signal
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.ratelimit import BucketTable, RateLimiter

from ..children import exit_status, fork
from ..virtual_time import ClockNs
from ..waiting import PATIENCE_SECONDS

SECRET = b"a secret made at start"
MINUTE_NS = 60 * 10**9


class PlainBucket:
    """The token bucket of the textbook: a level that rises with time."""

    def __init__(self, per_minute):
        self.cost = -(-MINUTE_NS // per_minute)
        self.full = self.level = per_minute * self.cost

    def pass_time(self, ns):
        """Let the level rise."""
        self.level = min(self.full, self.level + ns)

    def take(self):
        """Take one token if there is a whole one."""
        if self.level < self.cost:
            return False
        self.level -= self.cost
        return True


def limiter(clock, per_minute):
    """A limiter in a table of its own."""
    return limiter_in(BucketTable(64, clock_ns=clock), per_minute)


def limiter_in(table, per_minute, name="student", *, shared=False):
    """A limiter under the common secret."""
    return RateLimiter(
        table, name=name, per_minute=per_minute, secret=SECRET, shared=shared
    )


def nanoseconds(seconds):
    """The whole nanoseconds that a time in seconds was made from."""
    return round(seconds * 1e9)


def gaps(per_minute):
    """Silences between takes, from none to longer than a bucket needs to fill."""
    cost = MINUTE_NS // per_minute
    return st.lists(
        st.one_of(
            st.just(0),
            st.integers(0, 2 * cost),
            st.sampled_from([cost - 1, cost, cost + 1]),
            st.integers(0, 2 * MINUTE_NS),
        ),
        max_size=60,
    )


arrivals = st.integers(1, 20).flatmap(lambda n: st.tuples(st.just(n), gaps(n)))


@given(arrivals)
def test_every_answer_is_that_of_a_plain_token_bucket(pattern):
    """Allowed, remaining, retry_after and reset_after agree with a rising level."""
    per_minute, silences = pattern
    clock, bucket = ClockNs(), PlainBucket(per_minute)
    limit = limiter(clock, per_minute)
    for silence in silences:
        clock.now += silence
        bucket.pass_time(silence)
        answer = limit.take("k")
        assert answer.allowed == bucket.take()
        assert answer.limit == per_minute
        assert answer.remaining == bucket.level // bucket.cost
        assert nanoseconds(answer.reset_after) == bucket.full - bucket.level
        missing = 0 if answer.allowed else bucket.cost - bucket.level
        assert nanoseconds(answer.retry_after) == missing


@given(st.integers(1, 400), st.integers(0, MINUTE_NS))
def test_refused_until_exactly_retry_after(per_minute, silence):
    """One nanosecond before retry_after a take is refused, at retry_after allowed."""
    clock = ClockNs()
    limit = limiter(clock, per_minute)
    while limit.take("k").allowed:
        pass
    clock.now += silence
    while (answer := limit.take("k")).allowed:
        pass
    clock.now += nanoseconds(answer.retry_after) - 1
    assert not limit.take("k").allowed
    clock.now += 1
    assert limit.take("k").allowed


def test_keys_have_buckets_of_their_own():
    """An exhausted key leaves another key untouched."""
    limit = limiter(ClockNs(), 3)
    assert [limit.take("a").allowed for _ in range(4)] == [True, True, True, False]
    assert limit.take("b").remaining == 2


def test_limiters_of_different_name_share_a_table_not_buckets():
    """The same key under two names is two buckets, with two rates."""
    table = BucketTable(64, clock_ns=ClockNs())
    students = limiter_in(table, 1, "student")
    logins = limiter_in(table, 5, "login")
    assert students.take("k").allowed
    assert not students.take("k").allowed
    assert logins.take("k").remaining == 4


def test_what_others_charged_is_added_and_never_subtracted():
    """A bucket is raised to what all machines know, and is left where it is further."""
    table = BucketTable(8, clock_ns=ClockNs())
    limit = limiter_in(table, 10)
    hashed = limit.hashed("k")
    limit.take("k")
    limit.raise_to(hashed, 4 * limit.cost)
    assert limit.take("k").remaining == 5
    limit.raise_to(hashed, limit.cost)
    assert limit.take("k").remaining == 4


def test_what_others_charged_a_bucket_that_is_forgotten_is_lost():
    """Its slot is another key's by now, which is charged nothing for it."""
    limit = limiter_in(BucketTable(8, clock_ns=ClockNs()), 10)
    keys = list(map(str, range(8)))
    for _ in range(2):
        assert len({limit.take(key).remaining for key in keys}) == 1
        limit.raise_to(limit.hashed("forgotten"), 4 * limit.cost)


def test_a_bucket_is_found_wherever_it_is():
    """A new limiter finds it in each slot of its set."""
    table = BucketTable(8, clock_ns=ClockNs())
    for number in range(8):
        limiter_in(table, 10).take(str(number))
    for number in range(8):
        limit = limiter_in(table, 10)
        limit.raise_to(limit.hashed(str(number)), 4 * limit.cost)
    taken = [limiter_in(table, 10).take(str(number)) for number in range(8)]
    assert [each.remaining for each in taken] == [5] * 8


def test_what_is_given_back_can_be_taken_again():
    """The last token too."""
    limit = limiter(ClockNs(), 1)
    assert limit.try_take("k")
    assert not limit.try_take("k")
    limit.give_back("k")
    assert limit.try_take("k")


def test_what_is_given_back_lessens_a_debt():
    """What other machines have charged meanwhile makes it no less: here a bucket and
    half as much again is owed, of which all that was taken here is given back.
    """
    limit = limiter_in(BucketTable(8, clock_ns=ClockNs()), 10, shared=True)
    for _ in range(10):
        assert limit.try_take("k")
    assert limit.charges is not None
    limit.charges.collect(10)
    limit.raise_to(limit.hashed("k"), 15 * limit.cost)
    for _ in range(10):
        limit.give_back("k")
    assert list(limit.charges.collect(10).values()) == [-10 * limit.cost]
    assert limit.take("k").remaining == 4


def test_what_is_given_back_of_a_nearly_full_bucket_waits_to_be_told():
    """It waits, since it is less than an eighth."""
    limit = limiter_in(BucketTable(8, clock_ns=ClockNs()), 10, shared=True)
    assert limit.charges is not None
    for _ in range(2):
        limit.take("k")
    assert list(limit.charges.collect(10).values()) == [2 * limit.cost]
    limit.give_back("k")
    assert limit.charges.collect(10) == {}
    limit.charges.make_all_due()
    assert list(limit.charges.collect(10).values()) == [-limit.cost]


def test_what_is_given_back_of_a_forgotten_bucket_displaces_no_other():
    """All slots of its set are other keys' by now, and each stays as it is."""
    limit = limiter_in(BucketTable(8, clock_ns=ClockNs()), 10)
    keys = list(map(str, range(8)))
    for key in keys:
        limit.take(key)
    limit.give_back("forgotten")
    assert [limit.take(key).remaining for key in keys] == [8] * 8


def test_only_what_was_taken_is_told_to_others():
    """A refused take costs nothing here, nor on another machine."""
    limit = limiter_in(BucketTable(8, clock_ns=ClockNs()), 2, shared=True)
    assert [limit.take("k").allowed for _ in range(4)] == [True, True, False, False]
    assert limit.charges is not None
    assert list(limit.charges.collect(10).values()) == [2 * limit.cost]


def test_text_and_its_utf8_are_one_key():
    """A key may come as str or as bytes; a lone surrogate is a key too."""
    limit = limiter(ClockNs(), 10)
    limit.take("näme")
    assert limit.take("näme".encode()).remaining == 8
    assert limit.take("\ud800").remaining == 9


def test_keys_are_not_in_memory():
    """The table holds keyed hashes, never a key."""
    table = BucketTable(64)
    limiter_in(table, 10).take("2023B15canary")
    assert b"canary" not in bytes(table._memory)


def test_a_full_set_forgets_the_key_nearest_to_idle():
    """New keys push out the least charged; the exhausted key stays refused."""
    limit = limiter_in(BucketTable(8, clock_ns=ClockNs()), 100)
    for charged in range(1, 9):
        for _ in range(charged * 10):
            limit.take(f"key {charged}")
    limit.take("newcomer")
    assert limit.take("key 8").remaining == 19
    assert limit.take("key 2").remaining == 79
    assert limit.take("key 1").remaining == 99


def test_a_flood_of_new_keys_does_not_free_an_exhausted_one():
    """Ten thousand made-up keys later, the exhausted key is still refused."""
    limit = limiter(ClockNs(), 10)
    for _ in range(10):
        limit.take("greedy")
    for number in range(10_000):
        limit.take(str(number))
    assert not limit.take("greedy").allowed


def test_an_idle_key_makes_room():
    """The slot of a key whose bucket is full again is taken before any other."""
    clock = ClockNs()
    limit = limiter_in(BucketTable(8, clock_ns=clock), 10)
    limit.take("idle soon")
    clock.now += MINUTE_NS
    for number in range(8):
        assert limit.take(str(number)).remaining == 9
    for number in range(8):
        assert limit.take(str(number)).remaining == 8


def test_the_table_never_grows():
    """Its size is that of its slots, 16 bytes each, whatever is charged."""
    table = BucketTable(1001)
    limit = limiter_in(table, 10)
    for number in range(5000):
        limit.take(str(number))
    assert len(table._memory) == 1008 * 16


@pytest.mark.parametrize(
    ("per_minute", "secret"), [(0, SECRET), (-1, SECRET), (1, b""), (1, b"x" * 65)]
)
def test_a_wrong_rate_or_secret_is_refused(per_minute, secret):
    """Neither a rate below 1 nor an empty or overlong secret makes a limiter."""
    with pytest.raises(ValueError, match=r"must|key"):
        RateLimiter(BucketTable(8), name="n", per_minute=per_minute, secret=secret)


def test_four_processes_share_one_bucket_exactly():
    """Of 4 x 500 simultaneous takes of one key exactly n pass."""
    limit = limiter(ClockNs(), 700)
    reading, writing = os.pipe()

    def take_many():
        passed = sum(limit.take("k").allowed for _ in range(500))
        os.write(writing, passed.to_bytes(2, "big"))

    children = [fork(take_many) for _ in range(4)]
    assert [exit_status(pid) for pid in children] == [0] * 4
    shares = [int.from_bytes(os.read(reading, 2), "big") for _ in children]
    os.close(reading)
    os.close(writing)
    assert sum(shares) == 700
    assert not limit.take("k").allowed


@pytest.mark.parametrize(
    ("move", "left"),
    [
        (lambda limit: limit.take("k"), 8),
        (lambda limit: limit.raise_to(limit.hashed("k"), limit.cost), 8),
        (lambda limit: limit.give_back("k"), 9),
    ],
    ids=["take", "raise_to", "give_back"],
)
def test_a_worker_killed_under_the_lock_stalls_nobody(move, left):
    """While it lives its set is locked; SIGKILL unlocks it at once."""
    clocks: list[Callable[[], int]] = [ClockNs()]
    table = BucketTable(8, clock_ns=lambda: clocks[-1]())
    limit = limiter_in(table, 10)
    limit.take("k")
    reading, writing = os.pipe()

    def stand_still():
        os.write(writing, b"locked")
        signal.pause()

    def hold():
        clocks.append(stand_still)  # it is read under the lock
        move(limit)

    def take():
        assert limit.take("k").remaining == left
        os.write(writing, b"took")

    holder = fork(hold)
    assert os.read(reading, 16) == b"locked"
    waiter = fork(take)
    assert not select.select([reading], [], [], 0.1)[0]
    os.kill(holder, signal.SIGKILL)
    assert select.select([reading], [], [], PATIENCE_SECONDS)[0]
    assert os.read(reading, 16) == b"took"
    assert exit_status(waiter) == 0
    assert exit_status(holder) == -signal.SIGKILL
    os.close(reading)
    os.close(writing)
