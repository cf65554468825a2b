"""Limits over machines: the sum holds, and a failing store stops nobody."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.ratelimit import BucketTable, RateLimiter
from aims_server.ratelimit.charges import Charges
from aims_server.store import limits
from aims_server.store.limits import SharedLimits
from aims_server.store.scripts import RAISE_LIMITS
from tests.virtual_time import Clock

from ..waiting import eventually

SECRET = b"the same on all machines"
SECOND = 1_000_000_000


def table_on(clock):
    """A machine's buckets on a clock of seconds."""
    return BucketTable(64, clock_ns=lambda: int(clock.now * SECOND))


def limiter(per_minute=100, *, table=None):
    """The limiter of a machine of its own."""
    return RateLimiter(
        table or BucketTable(64),
        name="student",
        per_minute=per_minute,
        secret=SECRET,
        shared=True,
    )


def shared(machine):
    """The shared limits of a machine."""
    return SharedLimits(machine.client, machine.secrets, machine.observer)


@pytest.fixture(name="two")
def _two(make_machine):
    return [shared(make_machine()) for _ in range(2)]


@pytest.mark.gen_test
async def test_one_bucket_for_all_machines(two):
    """Three logins of one name pass, whatever machines they come to; the fourth is told
    when to come back; another name is free.
    """
    limiters = [limiter(3), limiter(3)]  # of which one more passes after 20 s
    decisions = [await two[n % 2].ask(limiters[n % 2], "ann") for n in range(4)]
    assert [d.allowed for d in decisions] == [True] * 3 + [False]
    assert [d.remaining for d in decisions] == [2, 1, 0, 0]
    assert 0 < decisions[-1].retry_after <= 20
    assert (await two[0].ask(limiters[0], "ben")).remaining == 2
    again = await two[0].ask(limiters[0], "ann")
    assert again.retry_after < decisions[-1].retry_after  # refusals cost nothing


@pytest.fixture(name="alone")
def _alone(make_machine, tmp_path):
    return shared(make_machine(f"unix://{tmp_path}/none.sock"))


@pytest.mark.gen_test
async def test_a_failing_store_decides_nothing_and_leaves_no_debt(alone):
    """Without the store there is no decision; what could not be told is not kept for an
    outage of any length, and billed after it.
    """
    here = limiter(10)
    assert await alone.ask(here, "ann") is None
    for _ in range(5):
        here.take("ann")
    await alone.sync([here])
    here.charges.make_all_due()
    assert not here.charges.collect(10)


@pytest.mark.gen_test
@pytest.mark.parametrize("answer", [b"+OK\r\n", b"*0\r\n", b"*1\r\n+OK\r\n"])
async def test_what_no_script_of_ours_answers_decides_nothing(odd, answer):
    """Whatever speaks the protocol there, a machine limits by itself."""
    machine, says = odd
    says(answer)
    asking, here = shared(machine), limiter(10, table=table_on(Clock()))
    assert await asking.ask(here, "ann") is None
    here.take("ann")
    here.charges.make_all_due()
    await asking.sync([here])
    assert here.take("ann").remaining == 8


@pytest.mark.gen_test
async def test_no_number_that_a_store_answers_locks_anybody_out(odd):
    """It counts as much as our own script lets it: two full buckets."""
    machine, says = odd
    says(b"*1\r\n:9223372036854775807\r\n")
    clock = Clock()
    here = limiter(10, table=table_on(clock))
    here.take("ann")
    here.charges.make_all_due()
    await shared(machine).sync([here])
    assert not here.take("ann").allowed
    clock.now += 120
    assert here.take("ann").allowed


@pytest.fixture(name="machine")
def _machine(make_machine):
    return make_machine()


@pytest.mark.gen_test
@pytest.mark.parametrize("value", ["9999999999999999", "1e300", "nonsense", "-5", None])
async def test_a_stamp_that_cannot_be_locks_nobody_out(machine, server, value):
    """A stamp of a clock that is hours ahead counts as an empty bucket at most, which
    fills from now on; any other value, a list too, as none.
    """
    here = limiter(60_000)
    key = machine.secrets.limit_key(here.hashed("ann"))

    def ends_within(ms):
        return -1 != int(server.ask("PTTL", key)[1:]) <= ms

    if value is None:
        server.ask("LPUSH", key, "x")
    else:
        server.ask("SET", key, value)
    for _ in range(200):
        decision = await shared(machine).ask(here, "ann")
        if decision.allowed:
            break
    assert decision.allowed
    assert ends_within(60_001)
    server.ask("SET", key, value or "x")
    here.take("ann")
    here.charges.make_all_due()
    await shared(machine).sync([here])
    assert ends_within(60_002)
    assert here.take("ann").retry_after < 1.0


@pytest.mark.gen_test
async def test_ticks_add_up(two):
    """What one machine has charged leaves as much less on the other after both have
    told; and no charge is told twice.
    """
    limiters = [limiter(100), limiter(100)]
    for _ in range(40):
        assert limiters[0].take("ann").allowed
    for _ in range(30):
        assert limiters[1].take("ann").allowed
    for _ in range(3):
        for sync, one in zip(two, limiters, strict=True):
            await sync.sync([one])
    # Tokens come back meanwhile, five in three seconds.
    assert 29 <= limiters[1].take("ann").remaining < 59
    assert limiters[0].take("ann").remaining >= 59  # it has nothing new to tell
    await two[0].sync([limiters[0]])
    assert 27 <= limiters[0].take("ann").remaining < 58


@pytest.mark.gen_test
async def test_what_succeeds_on_all_machines_at_once_locks_nobody_out(two):
    """A campus behind one address logs in, 70 on each machine where 100 a minute may be
    refused for all: as none is, the address may go on.
    """
    clock = Clock()
    pairs = [(each, limiter(100, table=table_on(clock))) for each in two]
    for change in (RateLimiter.take, RateLimiter.give_back):
        for _, one in pairs:
            for _ in range(70):
                change(one, "campus")
        for syncing, one in 2 * pairs:
            await syncing.sync([one])
    assert [one.take("campus").allowed for _, one in pairs] == [True, True]


def test_a_sum_is_no_more_than_its_most(server):
    """It stops at its maximum, however much the machines let pass."""
    full, most = 100_000_000, 200_000_000  # microseconds
    for charge in (5 * full, 0, 0):
        numbers = map(str, (charge, full, most))
        answer = server.ask("EVAL", RAISE_LIMITS, "1", "limit", *numbers)
        assert full < int(answer.split()[1].removeprefix(b":")) <= most


@pytest.mark.gen_test
async def test_what_is_all_given_back_is_charged_nowhere(two):
    """The last of what a machine has charged, too, is taken off the sum."""
    limiters = [limiter(100), limiter(100)]
    for change in (RateLimiter.take, RateLimiter.give_back):
        for _ in range(40):
            change(limiters[0], "campus")
        limiters[0].charges.make_all_due()
        await two[0].sync([limiters[0]])
    limiters[1].take("campus")
    limiters[1].charges.make_all_due()
    await two[1].sync([limiters[1]])
    assert limiters[1].take("campus").remaining >= 98


@pytest.mark.gen_test
async def test_small_charges_are_told_from_time_to_time(machine, monkeypatch):
    """Those of less than an eighth of a bucket, too, come to the other machines in the
    end. Ticks, and the number of them after which all is told, are made small here.
    """
    monkeypatch.setattr(limits, "_TICK_SECONDS", 0.002)
    monkeypatch.setattr(limits, "_TICKS_TO_TELL_ALL", 3)
    alone = RateLimiter(BucketTable(8), name="x", per_minute=5, secret=SECRET)
    here, syncing = limiter(100), shared(machine)
    here.take("ann")
    syncing.start([alone, here])
    await eventually(lambda: machine.observer.synced)
    await syncing.close()


class _Model:
    """The script's arithmetic, on a clock of ours."""

    def __init__(self, clock):
        self._clock = clock
        self._stamps = {}

    def tell(self, one):
        for hashed, charge in one.charges.collect(512).items():
            now = int(self._clock.now * SECOND)
            ahead = max(self._stamps.get(hashed, 0) - now, 0) + charge
            ahead = min(ahead, 2 * one.ceiling)
            self._stamps[hashed] = now + ahead
            one.raise_to(hashed, ahead)


@settings(max_examples=40)
@given(
    machines=st.integers(2, 5),
    rate=st.floats(2.0, 60.0),
    spread=st.lists(st.integers(0, 4), min_size=10, max_size=40),
)
def test_the_sum_holds_over_machines(machines, rate, spread):
    """In two minutes so many machines admit no more than one would, but for what is
    untold and what comes within a tick.
    """
    clock = Clock()
    limiters = [limiter(100, table=table_on(clock)) for _ in range(machines)]
    store = _Model(clock)
    admitted, next_tick, n = 0, clock.now + 0.25, 0
    start = clock.now
    while clock.now < start + 120:
        if clock.now >= next_tick:
            next_tick += 0.25
            for one in limiters:
                store.tell(one)
        admitted += limiters[spread[n % len(spread)] % machines].take("ann").allowed
        n += 1
        clock.now += 1 / rate
    within_a_tick = rate * 0.25 + machines
    assert admitted <= 100 + 200 + machines * 100 / 8 + within_a_tick


def test_charges_are_noted_only_when_shared():
    """A limiter that is not shared keeps no book."""
    alone = RateLimiter(BucketTable(8), name="x", per_minute=5, secret=SECRET)
    assert alone.charges is None
    assert isinstance(limiter().charges, Charges)
