"""Pages and leases in a real store, between machines that share nothing else."""

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aims_server.cache import Found, Page, Want
from aims_server.store.sealing import Secrets, Unopened

from ..waiting import EVER_LONGER, eventually

ANN, BEN = b"a" * 32, b"b" * 32

pytestmark = pytest.mark.gen_test


def page(body=b"page", *, age=0.0, fresh=300.0, servable=2100.0):
    """A page made so many seconds ago."""
    made = time.monotonic() - age
    return Page(body, made, made + fresh, made + servable)


def times_of(kept):
    """The moments that go with a page."""
    return kept.made_at, kept.fresh_until, kept.servable_until


async def take(machine, key=b"k", owner=ANN, want=None, *, seconds=60.0):
    """A look-up with a lease of a minute."""
    return await machine.pages.take(key, owner, want or Want(), seconds=seconds)


async def keep(machine, kept, key=b"k", owner=ANN):
    """Fill a key that nobody is filling."""
    taken = await take(machine, key, owner, Want(max_age=-1))
    assert taken.found is Found.NONE
    return await machine.pages.put(taken.lease, kept)


@pytest.fixture(name="first")
def _first(make_machine):
    return make_machine()


@pytest.fixture(name="second")
def _second(make_machine):
    return make_machine()


async def test_a_page_crosses_machines_whole(first, second):
    """What one machine put the other finds, with its times to the millisecond."""
    kept = page(bytes(range(256)) * 30, age=40)
    assert await keep(first, kept)
    taken = await take(second)
    assert taken.found is Found.KEPT
    assert taken.page.body == kept.body
    assert times_of(taken.page) == pytest.approx(times_of(kept), abs=20)
    assert taken.page.fresh_until <= kept.fresh_until + 0.002  # never too long
    assert (await take(second, b"other")).found is Found.NONE


@pytest.mark.parametrize(
    ("age", "want", "found"),
    [
        (-0.5, Want(), Found.KEPT),  # clocks drift while it is made
        (5, Want(max_age=30), Found.KEPT),
        (30.5, Want(max_age=30), Found.NONE),
        (280, Want(old_ok=False), Found.KEPT),
        (301, Want(), Found.OLD),
        (301, Want(max_age=400), Found.OLD),
        (301, Want(old_ok=False), Found.NONE),
    ],
)
async def test_what_will_do(first, second, age, want, found):
    """The wanted age and whether an old page will do decide; what won't do is shown."""
    await keep(first, page(age=age))
    taken = await take(second, want=want)
    assert (taken.found, taken.page.body) == (found, b"page")


async def test_one_machine_at_a_time_holds_the_lease(first, second):
    """The second is told that the key is busy, until the page is there."""
    taken = await take(first)
    assert taken.lease is not None
    assert (await take(second)).found is Found.BUSY
    assert (await take(second, b"other")).found is Found.NONE
    assert await first.pages.put(taken.lease, page())
    assert (await take(second)).found is Found.KEPT


async def test_a_machine_with_a_shorter_deadline_waits_too(first, second):
    """A lease is a quarter of REQUEST_TIMEOUT_SECONDS, in which machines may differ."""
    await take(first, seconds=60.0)
    assert (await take(second, seconds=1.0)).found is Found.BUSY


async def test_a_released_lease_is_free(first, second):
    """An asker that gives up lets the next try at once, and puts nothing more."""
    taken = await take(first)
    await first.pages.release(taken.lease)
    assert (await take(second)).found is Found.NONE
    assert not await first.pages.put(taken.lease, page())


async def test_a_lease_ends(first, second, server):
    """Past its end another has it, if it was not renewed; the first neither puts nor
    releases then.
    """
    taken = await take(first)
    key, field, value = hash_of(server)
    server.ask("HSET", key, field, value.rsplit(maxsplit=1)[0] + b" 1")
    later = await take(second)
    assert later.found is Found.NONE
    assert not await first.pages.put(taken.lease, page())
    await first.pages.release(taken.lease)
    assert (await take(first)).found is Found.BUSY
    assert await second.pages.put(later.lease, page())


def end_of_lease(server):
    """When the only lease ends, by the store's clock in ms."""
    return int(hash_of(server)[2].split()[2])


async def renewed(server):
    """Wait until that is later."""
    before = end_of_lease(server)
    await eventually(lambda: end_of_lease(server) > before)


@pytest.mark.parametrize("ends", ["put", "release"])
async def test_a_lease_is_renewed_until_it_is_ended(first, second, server, ends):
    """An asker on another machine begins no page that is being made: it would be there
    later, and the platform asked twice.
    """
    taken = await take(first, seconds=0.2)
    for _ in range(2):
        before = end_of_lease(server)
        await renewed(server)
        assert end_of_lease(server) - before > 90  # it is renewed at half
    if ends == "put":
        assert await first.pages.put(taken.lease, page())
        assert (await take(second)).found is Found.KEPT
    else:
        await first.pages.release(taken.lease)
        assert server.ask("KEYS", "aims1:*") == b"*0\r\n"
    said = server.monitor()
    await asyncio.sleep(0.3)
    assert b"EVAL" not in said()


async def test_a_renewal_that_fails_once_comes_in_time_yet(first, server):
    """No other machine finds the lease over, and begins a page that is being made."""
    for seconds in EVER_LONGER:
        taken = await take(first, seconds=seconds)
        key, before = hash_of(server)[0], end_of_lease(server)
        first.observer.calls.clear()
        server.ask("RENAME", key, "aside")
        server.ask("SET", key, "no hash")
        await eventually(lambda: "refused" in first.observer.calls)
        server.ask("RENAME", "aside", key)
        await renewed(server)
        at = end_of_lease(server) - 1000 * seconds
        await first.pages.release(taken.lease)
        if at < before:
            break
    assert at < before


async def test_a_lease_stays_in_the_store_while_it_is_renewed(first, server):
    """A page may take minutes (GATHER_TIMEOUT_SECONDS); a key alone ends after one."""
    taken = await take(first, seconds=0.2)
    key = hash_of(server)[0]
    server.ask("PEXPIRE", key, "30000")
    await renewed(server)
    assert int(server.ask("PTTL", key)[1:]) > 30_000
    await first.pages.release(taken.lease)


async def test_a_lease_that_another_has_taken_is_renewed_no_more(first, server):
    """This machine was thought to be dead, as when it stood still for a while."""
    await take(first, seconds=0.2)
    key, field, _ = hash_of(server)
    server.ask("HSET", key, field, b"another 1")
    await eventually(lambda: not first.pages._renewals._held)
    assert hash_of(server)[2] == b"another 1"


async def test_a_page_may_take_longer_than_its_lease(first, second):
    """On a platform that is slow for all, too, it is shared, unless another machine has
    begun it meanwhile.
    """
    taken = await take(first, seconds=0.001)
    await asyncio.sleep(0.05)
    assert await first.pages.put(taken.lease, page())
    assert (await take(second)).found is Found.KEPT


@pytest.mark.parametrize("age", [2130, 3000])
async def test_a_page_whose_time_is_over_is_nobodys(first, second, server, age):
    """Put too late, it is found by none, and leaves nothing behind."""
    await keep(first, page(age=age, servable=2100))
    taken = await take(second, seconds=25.0)
    assert (taken.found, taken.page) == (Found.NONE, None)
    key = server.ask("KEYS", "aims1:*").split(b"\r\n")[2]
    assert 0 < int(server.ask("PTTL", key)[1:]) <= 120_000


async def test_a_store_that_goes_while_a_page_is_made_costs_nobody_the_page(first):
    """It is not kept there, and its lease ends by itself."""
    leases = [(await take(first, key)).lease for key in (b"a", b"b")]
    first.client.open_circuit("test")
    assert not await first.pages.put(leases[0], page())
    await first.pages.release(leases[1])


async def test_an_owner_is_one_key_that_ends(first, server):
    """All pages and leases of a student are one key, which goes by itself."""
    await keep(first, page(), b"a")
    await keep(first, page(servable=4000), b"b")
    await take(first, b"c")
    keys = server.ask("KEYS", "aims1:*")
    assert keys.startswith(b"*1\r\n")
    ttl = int(server.ask("PTTL", keys.split(b"\r\n")[2])[1:])
    assert 3_990_000 < ttl <= 4_000_000


async def test_a_short_page_ends_no_longer_one(first, server):
    """What is put last does not decide how long the owner's other pages live."""
    await keep(first, page(servable=4000), b"a")
    await keep(first, page(servable=400), b"b")
    key = server.ask("KEYS", "aims1:*").split(b"\r\n")[2]
    assert int(server.ask("PTTL", key)[1:]) > 3_900_000


async def test_a_lease_alone_ends_too(first, server):
    """A machine that dies while it fills leaves nothing behind for long."""
    await take(first, seconds=25.0)
    key = server.ask("KEYS", "aims1:*").split(b"\r\n")[2]
    assert 0 < int(server.ask("PTTL", key)[1:]) <= 85_000


async def test_the_store_reads_nothing(first, server):
    """Neither keys nor values hold a name, a number or a word of the page."""
    await keep(first, page(b'{"studentId":5900001,"name":"Ann Nobody"}'), b"token/quiz")
    key = server.ask("KEYS", "*").split(b"\r\n")[2]
    seen = key + server.ask("HGETALL", key)
    for secret in (b"5900001", b"Nobody", b"quiz", b"token", b"studentId"):
        assert secret not in seen


def hash_of(server):
    """The only key, its only field and the value of that."""
    key = server.ask("KEYS", "aims1:*").split(b"\r\n")[2]
    field = server.ask("HKEYS", key).split(b"\r\n")[2]
    answer = server.ask("HGET", key, field)
    return key, field, answer.split(b"\r\n", 1)[1][:-2]


async def test_a_page_moved_to_another_student_does_not_open(first, second, server):
    """What the operator copies to somebody else's key is a miss that is counted."""
    await keep(first, page(), b"k", ANN)
    _, field, value = hash_of(server)
    server.ask("HSET", first.secrets.owner_key(BEN), field, value)
    taken = await take(second, b"k", BEN)
    assert (taken.found, taken.page) == (Found.NONE, None)
    assert second.observer.unopened == 1
    assert (await take(second, b"k", ANN)).found is Found.KEPT


async def test_a_page_moved_to_another_resource_does_not_open(first, second, server):
    """The same between two pages of one student."""
    await keep(first, page(), b"k", ANN)
    key, _, value = hash_of(server)
    server.ask("HSET", key, "p" + second.secrets.page_tag(b"k2"), value)
    assert (await take(second, b"k2")).page is None
    assert second.observer.unopened == 1


async def test_a_prolonged_page_does_not_open(first, second, server):
    """Times that the operator has changed are found out."""
    await keep(first, page(), b"k", ANN)
    key, field, value = hash_of(server)
    made, _, servable, rest = value.split(b" ", 3)
    longer = b"%d" % (int(servable) + 10_000)
    server.ask("HSET", key, field, b" ".join([made, longer, longer, rest]))
    assert (await take(second)).page is None
    assert second.observer.unopened == 1


async def test_a_store_with_its_clock_set_back_prolongs_nothing(first, second):
    """Past its end by our own clock a page does not open, whatever the store says."""
    await keep(first, page(servable=400))
    second.ahead = 430
    assert (await take(second)).found is Found.KEPT
    second.ahead = 461
    assert (await take(second)).page is None
    assert second.observer.unopened == 1


def by_a_clock_ahead(lease, seconds):
    """The lease that a store gives whose clock is so far ahead."""
    return replace(lease, offset=lease.offset + seconds)


async def test_a_page_of_a_clock_that_was_ahead_gives_way(first, second):
    """After failing over to a primary whose clock is an hour behind: what seems to be
    of the future would be new for an hour.
    """
    taken = await take(first)
    await first.pages.put(by_a_clock_ahead(taken.lease, 3600), page(b"first", age=40))
    taken = await take(second)
    assert (taken.found, taken.page) == (Found.NONE, None)
    assert await second.pages.put(taken.lease, page(b"second"))
    assert (await take(first)).page.body == b"second"


async def test_a_lease_of_a_clock_that_was_ahead_holds_nobody_up(first, server):
    """Its holder has lost it with the primary that gave it; all others would wait for
    an hour.
    """
    await take(first)
    key, field, value = hash_of(server)
    lease, end = value.rsplit(maxsplit=1)
    server.ask("HSET", key, field, b"%b %d" % (lease, int(end) + 3_600_000))
    taken = await take(first)
    assert (taken.found, taken.lease is None) == (Found.NONE, False)


async def test_a_page_of_a_clock_that_was_ahead_ends_in_time(first, second):
    """Where it does not seem to be of the future its end does not move, give or take
    the minute by which the machines' clocks may differ.
    """
    kept = page(age=200, servable=400)
    taken = await take(first)
    await first.pages.put(by_a_clock_ahead(taken.lease, 150), kept)
    found = (await take(second)).page
    assert found.made_at > kept.made_at + 100
    assert kept.servable_until < found.servable_until < kept.servable_until + 61
    assert found.fresh_until <= found.servable_until


@pytest.mark.parametrize("age", [0.0, 310.0])
async def test_what_does_not_open_gives_way(first, second, age):
    """Whoever finds a page that does not open, be it for a clock that is hours ahead,
    puts another in its place, which both can open.
    """
    await keep(first, page(b"first", age=age, servable=600))
    second.ahead = 4 * 3600
    taken = await take(second)
    assert (taken.found, taken.page) == (Found.NONE, None)
    assert (await take(first)).page.body == b"first"
    assert await second.pages.put(taken.lease, page(b"second", servable=400))
    for machine in (first, second):
        assert (await take(machine)).page.body == b"second"
    assert second.observer.unopened == 1


@pytest.fixture(name="other")
def _other(make_machine):
    return make_machine(secret=b"another secret of 32 bytes......")


async def test_another_secret_sees_nothing(first, other):
    """After a change of the secret old pages are not found; they end by themselves."""
    await keep(first, page())
    assert (await take(other)).found is Found.NONE
    assert other.observer.unopened == 0


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"nonsense",
        b"1 2 3",
        b"1 2 99999999999999 ",
        b"1 2 99999999999999 short",
        b"x y z " + bytes(40),
        b"1 99999999999999 99999999999999 " + bytes(60),
    ],
)
async def test_what_is_no_page_is_a_miss(first, server, value):
    """Whatever stands where a page should, it is not served, costs no error, and gives
    way to a page.
    """
    await keep(first, page())
    key, field, _ = hash_of(server)
    server.ask("HSET", key, field, value)
    taken = await take(first)
    assert (taken.found, taken.page) == (Found.NONE, None)
    assert await first.pages.put(taken.lease, page())
    assert (await take(first)).found is Found.KEPT


@pytest.mark.parametrize(
    "answer",
    [
        b":1\r\n",
        b"*0\r\n",
        b"*2\r\n$4\r\nnone\r\n:1\r\n",
        b"*3\r\n$4\r\ngone\r\n:1\r\n$-1\r\n",
        b"*3\r\n$4\r\nnone\r\n$1\r\n1\r\n$-1\r\n",
        b"*3\r\n$4\r\nnone\r\n:1\r\n:1\r\n",
        b"*3\r\n$4\r\nkept\r\n:1\r\n$-1\r\n",
        b"*3\r\n$4\r\nkept\r\n:1\r\n$8\r\nno times\r\n",
        b"*3\r\n$4\r\nkept\r\n:1\r\n$9\r\n1 2 3page\r\n",
    ],
)
async def test_what_no_script_of_ours_answers_is_a_miss(odd, answer):
    """Whatever speaks the protocol there, it gives no page, no lease and no error."""
    machine, says = odd
    says(answer)
    taken = await take(machine)
    assert (taken.found, taken.page, taken.lease) == (Found.NONE, None, None)


async def test_what_is_no_hash_is_a_miss(first, server):
    """A key of another type refuses every script; each asker goes on alone."""
    server.ask("SET", first.secrets.owner_key(ANN), "text")
    taken = await take(first)
    assert (taken.found, taken.lease) == (Found.NONE, None)
    assert first.observer.calls == ["refused"]


async def test_a_full_store_still_gives_what_it_has(first, second, server, caplog):
    """With noeviction and no memory left, pages are read and none is kept; nobody
    hears an error, and the log says why.
    """
    await keep(first, page())
    server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        assert (await take(second)).found is Found.KEPT
        taken = await take(second, want=Want(max_age=-1))
        assert (taken.found, taken.lease) == (Found.NONE, None)
        assert taken.page.body == b"page"  # should no newer one be had
        assert second.client.state == "closed"
        assert "refuses a command: it is full and may forget nothing" in caplog.text
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")


async def test_too_large_a_page_is_not_kept(first, second):
    """It would hold up the connection for all others; its lease ends with it."""
    assert not await keep(first, page(bytes(2_000_000)))
    assert (await take(second)).found is Found.NONE


async def test_a_page_begun_before_a_refusal_is_not_put(first, second):
    """In a new epoch of the owner the lease is worth nothing, and holds nobody up."""
    taken = await take(first)
    first.epochs.end(ANN)
    assert not await first.pages.put(taken.lease, page())
    assert (await take(second)).found is Found.NONE


def test_the_secret_must_be_long():
    """Less than 32 bytes can be guessed."""
    with pytest.raises(ValueError, match="32 bytes"):
        Secrets(bytes(31))


SECRETS = Secrets(bytes(range(32)))


def test_machines_of_two_versions_share_a_store():
    """While one after the other is upgraded: names, keys and what was sealed by the
    version of November 2026 stay as they are.
    """
    session = "c9ce0edf7ad07ed1c59222a4d8db1c66b24374b0af1d3cb40dde856a79086753"
    assert SECRETS.session.hex() == session
    assert SECRETS.stream_key == "aims1:d:a9abd8deb2929a633d0b358ed22315f1"
    assert SECRETS.owner_key(ANN) == "aims1:{8bbef55f97b2d025f0751ff48f36cc94}"
    assert SECRETS.page_tag(ANN) == "8bbef55f97b2d025f0751ff48f36cc94"
    assert SECRETS.limit_key(ANN) == "aims1:r:f4ba50448c3c28b6d266231b97da3ac4"
    page = "72bf1f66c3b7088b869c6f4db2d2100023aa97657b562d959dd2ecb5bd5ebed8"
    assert SECRETS.open_page(ANN, b"place", bytes.fromhex(page)) == b"page"
    refusal = (
        "b95a7c454eb486e8802594cbcb8eb204e4783a4f49df63085d318d321df80bf2"
        "d1ebf539e8963e3af7aa2c5e0618704360aeee6071b47c203df6c560b0f47faabde5681a"
    )
    assert SECRETS.open_owner(bytes.fromhex(refusal)) == (b"12345678", ANN)


def test_another_secret_opens_nothing():
    """Whoever knows the owner and the place, but not the secret, reads no page."""
    sealed = SECRETS.seal_page(ANN, b"place", b"page")
    with pytest.raises(Unopened):
        Secrets(bytes(32)).open_page(ANN, b"place", sealed)


OWNERS = st.binary(min_size=32, max_size=32).filter(BEN.__ne__)


@settings(max_examples=60)
@given(
    owner=OWNERS,
    body=st.binary(max_size=200),
    at=st.integers(0, 10_000),
    change=st.integers(1, 255),
)
def test_one_altered_byte_opens_nothing(owner, body, at, change):
    """A sealed page opens whole for its owner; with one byte changed it does not."""
    sealed = SECRETS.seal_page(owner, b"place", body)
    assert SECRETS.open_page(owner, b"place", sealed) == body
    broken = bytearray(sealed)
    broken[at % len(sealed)] ^= change
    for wrong in (
        lambda: SECRETS.open_page(owner, b"place", bytes(broken)),
        lambda: SECRETS.open_page(owner, b"places", sealed),
        lambda: SECRETS.open_page(BEN, b"place", sealed),
        lambda: SECRETS.open_page(owner, b"place", sealed[: at % len(sealed)]),
    ):
        with pytest.raises(Unopened):
            wrong()


@given(owner=OWNERS)
def test_an_owner_comes_back(owner):
    """Sealed for the other machines, an owner opens as what it was, with its sender."""
    sealed = SECRETS.seal_owner(b"sender..", owner)
    assert SECRETS.open_owner(sealed) == (b"sender..", owner)
    with pytest.raises(Unopened):
        SECRETS.open_owner(sealed[:-1])
