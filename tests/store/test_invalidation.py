"""A refusal on one machine voids everything of that owner on all, whatever is cut."""

import asyncio
import re
import signal
from functools import partial
from itertools import count
from typing import Any

import pytest

from aims_server.cache import Found
from aims_server.primitives import CircuitState
from aims_server.store.client import StoreUnavailable
from aims_server.store.cursor import SharedCursor
from aims_server.store.redis_clients import open_client
from aims_server.store.sealing import Secrets

from ..children import Deadly, exit_status, fork
from ..waiting import eventually
from .conftest import Machine
from .test_pages import ANN, BEN, keep, page, take

pytestmark = pytest.mark.gen_test

STREAM = Secrets(bytes(32)).stream_key


@pytest.fixture(name="first")
def _first(make_machine):
    return make_machine(follow=True)


@pytest.fixture(name="second")
def _second(make_machine):
    return make_machine(follow=True)


async def known(*machines):
    """Wait until these follow the stream."""
    await eventually(lambda: all(machine.shared.known for machine in machines))


async def test_a_refusal_crosses(first, second):
    """Pages and leases of the owner are gone from the store, and its epoch is another
    on both machines; another student notices nothing.
    """
    await known(first, second)
    await keep(first, page(), b"a", ANN)
    await keep(first, page(), b"b", BEN)
    filling = await take(second, b"a2", ANN)
    epochs = first.epochs.begin(ANN), second.epochs.begin(ANN), second.epochs.begin(BEN)
    first.refuse(ANN)
    assert first.epochs.of(ANN) != epochs[0]
    await eventually(lambda: second.epochs.of(ANN) != epochs[1])
    assert not await second.pages.put(filling.lease, page())
    assert (await take(second, b"a", ANN)).found is Found.NONE
    assert (await take(second, b"b", BEN)).found is Found.KEPT
    assert second.epochs.of(BEN) == epochs[2]
    assert (first.observer.drops, second.observer.drops) == (["here"], ["elsewhere"])


@pytest.fixture(name="stranger")
def _stranger(make_machine):
    return make_machine(secret=b"x" * 32, follow=True)


def all_told(machine):
    """Whether the store knows all that the machine had to tell."""
    return not machine.invalidations._pending


async def test_who_has_another_secret_is_not_concerned(first, second, stranger):
    """Two services may share a server, and one whose secret is being replaced: none
    meets entries that it cannot open, as of somebody who tampers.
    """
    await known(first, second, stranger)
    for machine in (stranger, first):
        await keep(machine, page(), b"a", ANN)
        machine.refuse(ANN)
        await eventually(partial(all_told, machine))
    await eventually(lambda: second.observer.drops == ["elsewhere"])
    assert [m.observer.unopened for m in (first, second, stranger)] == [0, 0, 0]


async def test_its_own_refusal_does_not_come_back(first, second):
    """What is begun after the refusal is not voided by the news of it."""
    await known(first, second)
    first.refuse(ANN)
    await eventually(lambda: second.observer.drops)
    after = first.epochs.begin(ANN)
    second.refuse(BEN)
    await eventually(lambda: "elsewhere" in first.observer.drops)
    assert first.epochs.of(ANN) == after
    assert first.observer.drops == ["here", "elsewhere"]


async def test_nothing_is_lost_while_connections_are_cut(first, second, server):
    """Sixty refusals, with every connection killed again and again: all arrive."""
    await known(first, second)
    epochs = [second.epochs.begin(b"%032d" % n) for n in range(60)]
    for n in range(60):
        first.refuse(b"%032d" % n)
        if n % 20 == 10:
            server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(0.002)
    await eventually(lambda: not any(map(second.epochs.is_current, epochs)))


async def test_an_emptied_store_is_followed_anew(first, second, server):
    """After FLUSHALL, and behind a server whose clock was ahead, news still arrive."""
    await known(first, second)
    server.ask("XADD", STREAM, "99999999999999-1", "o", "from the future")
    await eventually(lambda: second.observer.unopened and first.observer.unopened)
    server.ask("FLUSHALL")
    server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    before = second.epochs.begin(ANN)
    first.refuse(ANN)
    await eventually(lambda: second.epochs.of(ANN) != before)


@pytest.fixture(name="colleague")
def _colleague(make_machine, first):
    """Another worker of the first machine."""
    return make_machine(beside=first)


async def test_nothing_of_an_owner_is_taken_before_the_store_is_told(
    first, colleague, second
):
    """While the store does not know of a refusal, no worker of this machine takes
    anything of that student from it; it is told before it is used again.
    """
    await known(first, second)
    await keep(second, page(), b"a", ANN)
    await keep(second, page(), b"b", BEN)
    before = second.epochs.begin(ANN)
    first.client.open_circuit("test")
    first.refuse(ANN)
    assert (await take(colleague, b"a", ANN)).found is Found.NONE
    assert (await take(colleague, b"b", BEN)).found is Found.KEPT
    await eventually(lambda: first.client.state == "closed")
    await eventually(lambda: second.epochs.of(ANN) != before)
    assert first.observer.waiting == 0
    taken = await take(colleague, b"a", ANN)
    assert taken.page is None
    assert taken.lease is not None


async def test_before_the_stream_is_found_nothing_is_taken(second, server):
    """A machine that does not hear of refusals yet serves nothing from the store."""
    await known(second)
    await keep(second, page())
    deaf = Machine(server.url)
    assert (await take(deaf)).found is Found.NONE
    deaf.follow()
    await known(deaf)
    assert (await take(deaf)).found is Found.KEPT
    await deaf.close()


async def test_refusals_from_before_the_start_void_nothing(first, server):
    """A machine that starts has nothing to lose, and reads no old news."""
    sealed = first.secrets.seal_owner(b"12345678", ANN)
    server.ask("XADD", STREAM, "*", "o", sealed)
    later = Machine(server.url)
    ann, ben = later.epochs.begin(ANN), later.epochs.begin(BEN)
    later.follow()
    await known(later)
    first.refuse(BEN)
    await eventually(lambda: not later.epochs.is_current(ben))
    assert later.epochs.is_current(ann)
    await later.close()


async def test_pending_refusals_are_bounded(first):
    """Ten thousand wait; the oldest gives way to one more."""
    first.client.open_circuit("test")
    for n in range(10_001):
        first.refuse(b"%032d" % n)
    assert first.observer.waiting <= 10_000


async def test_a_made_up_token_concerns_nobody(first, second, server):
    """A refused owner of whom nothing is kept, here or in the store, is not told,
    however often it is refused.
    """
    await known(first, second)
    first.invalidations.add(ANN, kept=False)
    first.invalidations.add(ANN, kept=False)
    await eventually(lambda: not first.invalidations._pending)
    assert server.ask("XLEN", STREAM) == b":0\r\n"
    await keep(second, page(), b"k", ANN)
    before = second.epochs.begin(ANN)
    first.invalidations.add(ANN, kept=False)
    await eventually(lambda: second.epochs.of(ANN) != before)


def test_one_worker_of_a_machine_applies_an_entry():
    """What one worker has applied the others pass over, in their own processes."""
    cursor = SharedCursor()
    cursor.begin_at((5, 0), (0, 0))
    applied = []
    cursor.advance((5, 1), lambda: applied.append(1))

    def other():
        cursor.advance((5, 1), lambda: applied.append(2))
        cursor.advance((6, 0), lambda: applied.append(3))
        assert applied == [1, 3]

    assert exit_status(fork(other)) == 0
    assert cursor.position == (6, 0)


def test_a_worker_killed_while_it_moves_on_passes_over_nothing():
    """A hundred refusals may come within one millisecond; the next worker goes on with
    what was not applied.
    """
    cursor: Any = SharedCursor()
    cursor.begin_at((5, 7), (0, 0))

    def die():
        cursor._cursor = Deadly(cursor._cursor)
        cursor.advance((6, 0), lambda: None)

    assert exit_status(fork(die)) == -signal.SIGKILL
    applied = []
    cursor.advance((6, 1), lambda: applied.append(1))
    assert applied == [1]


@pytest.mark.parametrize(
    ("newest", "place"), [((7, 0), (6, 2)), ((6, 2), (6, 2)), ((6, 1), (0, 0))]
)
def test_a_stream_that_is_found_again_is_read_on(newest, place):
    """It is read from where it was left; a shorter one, from its start."""
    cursor = SharedCursor()
    cursor.begin_at((6, 2), (0, 0))
    cursor.begin_at(newest, (6, 2))
    assert cursor.position == place


async def test_a_worker_that_begins_amid_news_applies_none_again(
    first, second, server, monkeypatch
):
    """While it asks for the newest entry a worker beside it applies a newer one. What a
    student has begun since an older one goes on.
    """
    await known(first, second)
    second.refuse(ANN)
    await eventually(lambda: len(first.observer.drops) == 1)
    epoch = first.epochs.begin(ANN)
    beside = Machine(server.url, beside=first)
    ask, read, reads = beside.invalidations._newest, beside.invalidations._read, []

    async def overtaken(reader):
        newest = await ask(reader)
        second.refuse(BEN)
        await eventually(lambda: len(first.observer.drops) >= 2)
        return newest

    async def counted(reader):
        await read(reader)
        reads.append(reader)

    monkeypatch.setattr(beside.invalidations, "_newest", overtaken)
    monkeypatch.setattr(beside.invalidations, "_read", counted)
    beside.follow()
    await eventually(lambda: reads)
    await beside.close()
    assert first.epochs.of(ANN) == epoch


async def test_a_made_up_token_under_way_concerns_nobody(first, second, server):
    """A refusal while this machine still holds a lease is not told, but one while
    another machine fills a page is.
    """
    await known(first, second)
    await take(first, b"page", ANN)
    first.invalidations.add(ANN, kept=False)
    await eventually(lambda: not first.invalidations._pending)
    assert server.ask("XLEN", STREAM) == b":0\r\n"
    await take(second, b"page", BEN)
    first.invalidations.add(BEN, kept=False)
    await eventually(lambda: second.observer.drops)
    assert second.observer.drops == ["elsewhere"]


class CutShort:
    """A client whose connection is lost after a command or two."""

    def __init__(self, client, allowed):
        self.client = client
        self.allowed = allowed

    async def call_always(self, *command):
        """Fail if no more calls are allowed."""
        if not self.allowed:
            raise StoreUnavailable
        self.allowed -= 1
        return await self.client.call_always(*command)


@pytest.fixture(name="sender")
def _sender(make_machine):
    """A machine that sends when it is told to."""
    return make_machine()


async def test_news_cut_short_between_deletion_and_telling_are_told(sender, second):
    """The pages are deleted and the connection lost: the next attempt still knows that
    there were pages, and tells the other machine.
    """
    await known(second)
    await keep(second, page(), b"a", ANN)
    sender.invalidations.add(ANN, kept=False)
    with pytest.raises(StoreUnavailable):
        await sender.invalidations.send(CutShort(sender.client, 1))
    await sender.invalidations.send(sender.client)
    await eventually(lambda: second.observer.drops)


class Meanwhile:
    """A client during whose first call something happens."""

    def __init__(self, client, happens):
        self.client = client
        self.happening = [happens]

    async def call_always(self, *command):
        """The answer, and then that."""
        answer = await self.client.call_always(*command)
        while self.happening:
            self.happening.pop()()
        return answer


async def test_a_refusal_while_another_is_told_is_told_too(sender, second):
    """A made-up token comes first, and the one that was good meanwhile."""
    await known(second)
    sender.invalidations.add(ANN, kept=False)
    refused_again = partial(sender.invalidations.add, ANN, kept=True)
    await sender.invalidations.send(Meanwhile(sender.client, refused_again))
    await eventually(lambda: second.observer.drops)


class LeftAlone:
    """A client whose store does not answer, and that counts who asks all the same."""

    state = CircuitState.OPEN
    where = "redis://store.example:6379/0"
    asked = 0

    async def call_always(self, *command):
        """It fails."""
        self.asked += 1
        raise StoreUnavailable

    def open_circuit(self, reason):
        """It is open."""


async def test_a_store_that_is_left_alone_is_told_nothing(sender):
    """Each refusal would wait for it, and it is told before it is used again."""
    client = LeftAlone()
    sender.invalidations.start(client, partial(open_client, sender.address))
    sender.refuse(ANN)
    for _ in range(10):
        await asyncio.sleep(0)
    assert client.asked == 0


class Failing(LeftAlone):
    """A client whose store is asked, and stops answering."""

    state = CircuitState.CLOSED
    reason = ""

    def open_circuit(self, reason):
        """Note why."""
        self.state, self.reason = CircuitState.OPEN, reason


async def test_a_store_that_cannot_be_told_is_used_no_more(sender):
    """It holds what the platform has refused, and is told that before it is used."""
    client = Failing()
    await known(sender)
    sender.invalidations.start(client, partial(open_client, sender.address))
    sender.refuse(ANN)
    await eventually(lambda: client.reason)
    assert client.reason.startswith("an invalidation could not be sent")
    assert sender.shared.is_pending(ANN, 0.0)


async def test_a_second_refusal_does_not_make_light_of_the_first(first, second):
    """A page's flight and its part's are refused one after the other; that nothing is
    kept by then does not keep the news from other machines.
    """
    await known(first, second)
    first.invalidations.add(ANN, kept=True)
    first.invalidations.add(ANN, kept=False)
    await eventually(lambda: second.observer.drops)


async def test_two_refusals_of_one_owner_are_told_as_one(first):
    """Once the store is told, its pages may be used again."""
    await known(first)
    for _ in range(2):
        first.invalidations.add(ANN, kept=True)
    await eventually(lambda: not first.invalidations.is_pending(ANN))


async def test_made_up_tokens_push_out_no_real_one(first):
    """While the store fails any number of refused tokens that were never good leave
    those waiting that were.
    """
    first.client.open_circuit("test")
    first.invalidations.add(ANN, kept=True)
    for n in range(20_000):
        first.invalidations.add(b"%032d" % n, kept=False)
    first.invalidations.add(BEN, kept=True)
    for owner in (ANN, BEN):
        assert first.invalidations._pending[owner].concerns_others
    assert first.invalidations.is_pending(b"%032d" % 19_999)


async def test_a_strangers_value_in_a_students_place_harms_nobody(first, server):
    """An owner's key that is no hash: its pages are not shared, its refusal deletes it,
    and other students' refusals are told all the same.
    """
    await known(first)
    key = first.secrets.owner_key(ANN)
    server.ask("SET", key, "somebody else's")
    assert (await take(first, b"a", ANN)).found is Found.NONE
    first.refuse(BEN)
    first.refuse(ANN)
    await eventually(lambda: not first.invalidations._pending)
    assert first.client.state == "closed"
    assert server.ask("EXISTS", key) == b":0\r\n"


def owners_of_one_slot():
    """Two owners who share a slot of the cursor."""
    ann = b"%032d" % 7
    others = (b"%032d" % number for number in count(8))
    return ann, next(ben for ben in others if (hash(ben) - hash(ann)) % 65536 == 0)


def test_owners_of_one_slot_are_pending_until_the_last_is_told():
    """What is told about one does not let the store's pages of the other be used; and
    what a dead worker left behind ends with its time.
    """
    cursor, (ann, ben) = SharedCursor(), owners_of_one_slot()
    cursor.add_pending(ann, 0.0, until=100.0)
    cursor.add_pending(ben, 50.0, until=150.0)
    cursor.remove_pending(ben)
    assert cursor.is_pending(ann, 99.0)
    cursor.remove_pending(ann)
    assert not cursor.is_pending(ann, 99.0)
    cursor.add_pending(ann, 0.0, until=100.0)  # and its worker dies
    assert not cursor.is_pending(ben, 100.0)
    cursor.add_pending(ben, 200.0, until=300.0)
    cursor.remove_pending(ben)
    assert not cursor.is_pending(ben, 201.0)


def test_what_is_told_after_its_time_is_told_all_the_same():
    """By then the slot may count from the beginning."""
    cursor, owners = SharedCursor(), owners_of_one_slot()
    for owner, now in zip(owners, (0.0, 100.0), strict=True):
        cursor.add_pending(owner, now, until=now + 100.0)
    for owner in owners:
        cursor.remove_pending(owner)
    assert not any(cursor.is_pending(owner, 101.0) for owner in owners)


def test_owners_of_one_slot_are_pending_for_the_longer_time():
    """After a reload pages may live for a shorter time than those that were kept."""
    cursor, (ann, ben) = SharedCursor(), owners_of_one_slot()
    cursor.add_pending(ann, 0.0, until=2100.0)
    cursor.add_pending(ben, 50.0, until=150.0)
    assert cursor.is_pending(ann, 2099.0)


@pytest.fixture(name="misled", params=["user", "rights", "stream"])
def _misled(make_machine, server, request):
    """A machine with a wrong password, one whose user may not read the stream, one that
    finds somebody else's value in its place; and what it says.
    """
    rights = ("on", ">good", "~*", "+@all", "-xread", "-xrevrange")
    server.ask("ACL", "SETUSER", "deaf", *rights)
    name, reason = {
        "user": ("deaf:wrong@", "its user or password is not accepted"),
        "rights": ("deaf:good@", "its user may not do this (conf/valkey-users.acl"),
        "stream": ("", "WRONGTYPE"),
    }[request.param]
    if request.param == "stream":
        server.ask("SET", STREAM, "somebody else's")
    url = server.url.replace("unix://", f"unix://{name}")
    return make_machine(url, follow=True), reason


async def test_a_store_that_cannot_be_followed_is_not_used(misled, caplog):
    """It is left alone, from the start and after pings, and the log says why, without
    user and password.
    """
    machine, reason = misled
    await eventually(lambda: machine.observer.states.count("open") >= 2)
    assert (await take(machine)).found is Found.NONE
    assert "closed" not in machine.observer.states
    assert f"The store at {machine.client.where} is not used: " in caplog.text
    assert reason in caplog.text
    assert not {"deaf", "good", "wrong"} & set(re.findall(r"\w+", caplog.text))


@pytest.fixture(name="early")
def _early(make_machine, server):
    """A machine that starts before its store does."""
    server.kill()
    machine = make_machine(follow=True)
    yield machine
    if not server.running:
        server.start()


async def test_a_store_that_comes_after_the_start_is_used(early, server):
    """Down at the start, it is used as soon as it answers and is followed."""
    await eventually(lambda: early.observer.states)
    assert early.client.state == "open"
    server.start()
    await eventually(lambda: early.client.state == "closed")
    assert early.shared.known
    assert await keep(early, page(), b"a", ANN)


@pytest.fixture(name="unread")
def _unread(make_machine):
    """A machine that reads no stream."""
    return make_machine()


async def test_a_fault_of_ours_in_its_tasks_is_told(unread, caplog):
    """Nobody awaits them: refusals of other machines would be lost without a word."""
    fault = KeyError("made up")

    def broken(silence):
        raise fault

    unread.invalidations.start(unread.client, broken)
    await eventually(
        lambda: fault in [line.exc_info[1] for line in caplog.records if line.exc_info]
    )
