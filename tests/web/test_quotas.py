"""Who may ask how often: which bucket counts whom, and what the headers say of it."""

import asyncio
import re
from collections.abc import Iterator

import pytest

from aims_server.deadline import Deadline
from aims_server.errors import RateLimited
from aims_server.ratelimit import BucketTable, Decision, RateLimiter
from aims_server.web.headers import header_pairs
from aims_server.web.limit_keys import user_name_key
from aims_server.web.quotas import Quota, RequestLimits
from aims_server.web.sessions import Session, SessionReader

from ..virtual_time import Clock, ClockNs, virtual_loop

# Per minute: a token each 10, 5, 20, 12 and 15 seconds.
STUDENT, ADDRESS, LOGIN, FAILURES, GUESSES = 6, 12, 3, 5, 4
HERE = "192.0.2.1"


@pytest.fixture(name="clock")
def _clock() -> ClockNs:
    return ClockNs()


@pytest.fixture(name="limits")
def _limits(clock) -> RequestLimits:
    table = BucketTable(1024, clock_ns=clock)

    def limiter(name, per_minute):
        return RateLimiter(table, name=name, per_minute=per_minute, secret=b"s")

    return RequestLimits(
        student=limiter("student", STUDENT),
        address=limiter("address", ADDRESS),
        login=limiter("login", LOGIN),
        login_failures=limiter("login-failures", FAILURES),
        guesses=limiter("guesses", GUESSES),
    )


def log_in(limits, user_name, address, *, refused=True):
    """The quota of a login, which waits for nobody here and ends so."""
    with pytest.raises(StopIteration) as ended:
        limits.by_login(user_name, address, Deadline(10)).send(None)
    quota = ended.value.value
    if quota.decision.allowed:
        limits.login_ended(address, refused=refused)
    return quota


def session_of(student_id: int | None, name: str, *, verified: bool) -> Session:
    """A session as the reader makes it, with standing or not."""
    key = name.encode().ljust(32)
    session = Session(key, student_id, None, SessionReader(b"secret"))
    if verified:
        session.confirm(student_id=student_id)
    return session


def passed(quotas) -> int:
    """How many of these requests may go on."""
    return sum(quota.decision.allowed for quota in quotas)


def many(take, number=30) -> int:
    """How many of so many requests may go on."""
    return passed([take() for _ in range(number)])


def test_each_kind_has_its_own_bucket(limits):
    """Address, session and user name have buckets of their own capacity."""
    session = session_of(5, "a", verified=True)
    assert many(lambda: limits.by_address(HERE)) == ADDRESS
    assert many(lambda: limits.by_session(session, HERE)) == STUDENT
    assert many(lambda: log_in(limits, "2023B1599999", HERE)) == LOGIN


def test_one_clients_bucket_is_nobody_elses(limits):
    """An exhausted address, session or user name leaves all others full."""
    many(lambda: limits.by_address(HERE))
    many(lambda: limits.by_session(session_of(5, "a", verified=True), HERE))
    many(lambda: log_in(limits, "one", HERE))
    assert many(lambda: limits.by_address("192.0.2.2")) == ADDRESS
    other = session_of(6, "b", verified=True)
    assert many(lambda: limits.by_session(other, HERE)) == STUDENT
    assert many(lambda: log_in(limits, "two", "192.0.2.2")) == LOGIN


def test_several_logins_of_a_student_share_one_quota(limits):
    """A new token is no new bucket, once the platform has named its student."""
    quotas = [
        limits.by_session(session_of(5, f"token-{number}", verified=True), HERE)
        for number in range(30)
    ]
    assert passed(quotas) == STUDENT


def test_a_made_up_token_uses_up_nothing_of_the_student_it_names(limits):
    """Its claim counts for nothing without standing."""
    for number in range(30):
        limits.by_session(session_of(5, f"made-up-{number}", verified=False), HERE)
    real = session_of(5, "real", verified=True)
    assert many(lambda: limits.by_session(real, HERE)) == STUDENT


@pytest.mark.parametrize("student_id", [None, 5])
def test_tokens_without_standing_share_one_bucket(limits, student_id):
    """Those of one claim and address do; other claims and addresses have their own."""
    quotas = [
        limits.by_session(session_of(student_id, str(n), verified=False), HERE)
        for n in range(30)
    ]
    assert passed(quotas) == STUDENT
    for claim, address in ((student_id, "192.0.2.2"), (6, HERE)):
        other = session_of(claim, "other", verified=False)
        assert limits.by_session(other, address).decision.remaining == STUDENT - 1


@pytest.mark.parametrize("claim", [None, 5])
def test_what_a_token_was_charged_is_moved_to_its_student(limits, claim):
    """The bucket of its claim has it back, though the token claimed nothing."""
    session = session_of(claim, "a", verified=False)
    quota = limits.by_session(session, HERE)
    session.confirm(student_id=5)
    moved = limits.move_to_student(session, HERE, quota)
    assert moved.decision.remaining == STUDENT - 1
    another = session_of(claim, "b", verified=False)
    assert limits.by_session(another, HERE).decision.remaining == STUDENT - 1


def test_a_token_that_lost_its_standing_is_no_longer_its_students(limits):
    """It uses up nothing of what the student's other tokens have."""
    session = session_of(5, "a", verified=True)
    session._reader.epochs.end(session.owner)
    many(lambda: limits.by_session(session, HERE))
    other = session_of(5, "b", verified=True)
    assert many(lambda: limits.by_session(other, HERE)) == STUDENT


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("2001:db8:0:7::1", True),
        ("2001:db8:0:7:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:6::1", False),
        ("192.0.2.8", False),
        ("unix", False),
    ],
)
def test_an_ipv6_address_counts_as_its_network(limits, address, same):
    """The lower half of it is its holder's to choose."""
    many(lambda: limits.by_address("2001:db8:0:7::2"))
    assert (many(lambda: limits.by_address(address)) == 0) is same


def spellings() -> Iterator[str]:
    """One account in many hands: case, blanks, forms, marks, what does not show."""
    name = "2023B1599999"
    yield from (name, name.lower(), f"  {name}\t", name.replace("B", "\uff22"))
    for start in (0xFF10, 0x660, 0x966):  # digits: full-width, Arabic-Indic, Devanagari
        yield "".join(chr(start + int(c)) if c.isdigit() else c for c in name)
    hangzhou = "\u3007\u3021\u3022\u3023\u3024\u3025\u3026\u3027\u3028\u3029"
    tibetan_halves = "\u0f33\u0f2a\u0f2b\u0f2c\u0f2d\u0f2e\u0f2f\u0f30\u0f31\u0f32"
    for numerals in (hangzhou, tibetan_halves):
        yield "".join(numerals[int(c)] if c.isdigit() else c for c in name)
    invisible = "\u00ad\u200b\u200d\u2060\ufeff\u3164\u2800\u180e\U000e0041\x00"
    strokes = "\u0640\u180a\ufe73"  # which only lengthen what they stand beside
    marks = "\u0301\u0307\u20dd\ufe0f\u0345"  # the last is an iota in upper case
    for character in invisible + strokes + marks:
        for at in range(len(name) + 1):
            yield name[:at] + character + name[at:]


def test_all_spellings_of_a_user_name_are_one(limits):
    """Otherwise a password could be tried again under each of them."""
    names = list(spellings())
    assert len(set(names)) > 180
    quotas = [log_in(limits, name, f"192.0.2.{n}") for n, name in enumerate(names)]
    assert passed(quotas) == LOGIN
    assert log_in(limits, "2023B1599998", HERE).decision.allowed


@pytest.mark.parametrize(
    "name",
    [
        *("ri\u017fhi", "r\u0131\u017fhi", "R\u0130S\u0126I", "\ua75bi\ua785hi"),
        *("\U0001f181ish\u0365", "\ua7a7i\ua7a9hi"),
    ],
)
def test_letters_that_a_database_takes_for_others_are_these(name):
    """A long s, an i without its dot or with one; letters with a stroke, of an old
    hand, on a tile, over another.
    """
    assert user_name_key(name) == user_name_key("rishi")


def test_refused_logins_are_counted_by_address(limits):
    """Past the limit every login of that address is refused, and of no other."""
    quotas = [log_in(limits, f"name-{n}", HERE) for n in range(30)]
    assert passed(quotas) == FAILURES
    assert quotas[-1].kind == "login-failures"
    assert log_in(limits, "name", "192.0.2.2").decision.allowed


def test_a_login_that_is_not_refused_costs_its_address_nothing(limits):
    """A campus logs in behind one address."""
    for number in range(30):
        log_in(limits, f"name-{number}", HERE, refused=False).check()


class TestPendingLogins:
    """As many of an address as may be refused are under way."""

    @pytest.fixture(name="now")
    def _now(self):
        return Clock()

    @pytest.fixture(name="io_loop")
    def _io_loop(self, now):
        yield from virtual_loop(now)

    @pytest.fixture(name="log_in")
    def _log_in(self, limits, now):
        return lambda name, address=HERE: limits.by_login(
            name, address, Deadline(10, clock=now)
        )

    @pytest.fixture(name="as_many")
    def _as_many(self, log_in):
        async def begin():
            for number in range(FAILURES):
                (await log_in(f"name-{number}")).check()

        return begin

    @pytest.mark.gen_test
    async def test_one_more_waits_for_the_place_of_one_that_ends(
        self, limits, log_in, as_many, now
    ):
        """It may be right as well. Those of another address do not wait."""
        await as_many()
        began = now()
        (await log_in("elsewhere", "192.0.2.2")).check()
        waiting = asyncio.create_task(log_in("right"))
        await asyncio.sleep(4)
        limits.login_ended(HERE, refused=False)
        assert (await waiting).decision.allowed
        assert now() == began + 4

    @pytest.mark.gen_test
    async def test_one_more_is_refused_while_the_platform_has_time_to_answer_it(
        self, limits, log_in, as_many, now
    ):
        """Called at the last moment the platform's answer would come too late, and a
        wrong one not count. Nor does each end that is of no use give it more time.
        """
        await as_many()
        began = now()
        waiting = asyncio.create_task(log_in("late"))
        await asyncio.sleep(4)
        limits.login_ended(HERE, refused=True)
        late = await waiting
        assert (late.kind, late.decision.allowed) == ("login-failures", False)
        assert now() == began + 5


def test_guesses_are_counted_by_address(limits):
    """Wrong guesses count against their address only; a right one is free."""
    for _ in range(30):
        limits.by_guess(HERE).check()
        limits.guess_was_right(HERE)
    quotas = [limits.by_guess(HERE) for _ in range(30)]
    assert passed(quotas) == GUESSES
    assert quotas[-1].kind == "guesses"
    assert limits.by_guess("192.0.2.2").decision.allowed
    assert limits.by_address(HERE).decision.remaining == ADDRESS - 1


def test_an_address_that_is_refused_costs_the_user_name_nothing(limits):
    """Its owner may log in from elsewhere."""
    for number in range(30):
        log_in(limits, f"name-{number}", HERE)
    log_in(limits, "name", HERE)
    assert log_in(limits, "name", "192.0.2.2").decision.remaining == LOGIN - 1


def test_a_refusal_is_over_exactly_when_it_says(limits, clock):
    """A nanosecond before, no; then, yes; and then not at once again."""
    session = session_of(5, "a", verified=True)
    many(lambda: limits.by_session(session, HERE))
    refused = limits.by_session(session, HERE)
    with pytest.raises(RateLimited):
        refused.check()
    clock.advance(refused.decision.retry_after - 1e-9)
    assert not limits.by_session(session, HERE).decision.allowed
    clock.advance(1e-9)
    limits.by_session(session, HERE).check()
    assert not limits.by_session(session, HERE).decision.allowed


def test_a_refusal_names_its_bucket(limits):
    """The metrics count refusals by that kind."""
    many(lambda: log_in(limits, "a", HERE))
    with pytest.raises(RateLimited) as caught:
        log_in(limits, "a", HERE).check()
    assert caught.value.kind == "login"


def told(quota: Quota) -> dict[str, str]:
    """The headers of a quota."""
    return dict(header_pairs(quota.header_lines()))


def test_the_headers_tell_policy_and_rest(limits, clock):
    """`q` a window of `w` seconds, `r` left, all of it back in `t` seconds."""
    headers = [told(limits.by_address("192.0.2.1")) for _ in range(ADDRESS)]
    assert {each["RateLimit-Policy"] for each in headers} == {'"address";q=12;w=60'}
    assert headers[0]["RateLimit"] == '"address";r=11;t=5'
    assert headers[5]["RateLimit"] == '"address";r=6;t=30'
    assert headers[-1]["RateLimit"] == '"address";r=0;t=60'
    clock.advance(30)
    later = told(limits.by_address("192.0.2.1"))
    assert later["RateLimit"] == '"address";r=5;t=35'


def test_a_refused_request_is_told_the_wait(limits, clock):
    """`t` and `Retry-After` are the same whole seconds, never too early, never 0."""
    many(lambda: limits.by_address("192.0.2.1"))
    for passed_seconds in (0, 0.3, 4, 0.69, 0.009):
        clock.advance(passed_seconds)
        quota = limits.by_address("192.0.2.1")
        with pytest.raises(RateLimited) as caught:
            quota.check()
        rest = re.fullmatch(r'"address";r=0;t=(\d+)', told(quota)["RateLimit"])
        assert rest
        assert caught.value.headers() == [("Retry-After", rest.group(1))]
        assert int(rest.group(1)) >= max(1, quota.decision.retry_after)


# A page at hand: both buckets or neither.


def test_a_page_at_hand_counts_for_both(limits):
    """The student's quota is told; the address's is one less as well."""
    session = session_of(1, "a", verified=True)
    quota = limits.by_both("10.0.0.1", session)
    assert quota is not None
    assert quota.decision.remaining == STUDENT - 1
    assert limits.by_address("10.0.0.1").decision.remaining == ADDRESS - 2


def test_a_student_who_is_refused_costs_the_address_nothing(limits):
    """It is refused once more on the usual way, which gives its count back."""
    session = session_of(1, "a", verified=True)
    while limits.by_both("10.0.0.1", session):
        pass
    assert limits.by_address("10.0.0.1").decision.remaining == ADDRESS - STUDENT - 1


@pytest.mark.parametrize("verified", [True, False])
def test_an_address_that_is_refused_costs_the_student_nothing(limits, verified):
    """It takes nothing from the student's bucket, nor from an unverified token's."""
    many(lambda: limits.by_address("10.0.0.1"))
    session = session_of(1, "a", verified=verified)
    assert limits.by_both("10.0.0.1", session) is None
    quota = limits.by_session(session, "10.0.0.1")
    assert quota.decision.remaining == STUDENT - 1


class Machines:
    """All machines together, who say of a login what they are told to say."""

    def __init__(self, clock: ClockNs) -> None:
        self.asked: list[tuple[RateLimiter, str]] = []
        self.say: Decision | None = None
        self.hang = False
        table = BucketTable(64, clock_ns=clock)

        def limiter(name):
            return RateLimiter(table, name=name, per_minute=LOGIN, secret=b"s")

        names = ("student", "address", "login", "guesses", "login_failures")
        self.limiters = {name: limiter(name) for name in names}
        self.limits = RequestLimits(**self.limiters, ask_machines=self._ask)

    async def _ask(self, limiter, key):
        self.asked.append((limiter, key))
        if self.hang:
            await asyncio.sleep(0)
        return self.say


@pytest.fixture(name="machines")
def _machines(clock) -> Machines:
    return Machines(clock)


def test_all_machines_are_asked_for_the_user_name(machines):
    """What they say is the login's quota; where they cannot be asked, this one's is."""
    assert log_in(machines.limits, "Ann", HERE).decision.remaining == LOGIN - 1
    machines.say = Decision(True, LOGIN, 0, 0, 9)
    assert log_in(machines.limits, "Ann", HERE) == Quota("login", machines.say)
    assert machines.asked == [(machines.limiters["login"], user_name_key("Ann"))] * 2


def test_a_login_that_other_machines_refuse_uses_up_nothing_here(machines):
    """It takes nothing from its account or its address."""
    machines.say = Decision(False, LOGIN, 0, 7.0, 60.0)
    for _ in range(2 * LOGIN):
        assert log_in(machines.limits, "ann", HERE) == Quota("login", machines.say)
    machines.say = None
    assert many(lambda: log_in(machines.limits, "ann", HERE)) == LOGIN


def test_a_login_that_is_refused_here_costs_the_machines_nothing(machines):
    """They are not asked, and so take no token of it."""
    many(lambda: log_in(machines.limits, "ann", HERE))
    assert len(machines.asked) == LOGIN


def test_who_leaves_while_machines_are_asked_uses_up_nothing(machines):
    """Neither of its account nor of its address, for which it is pending no more."""
    asking = machines.limits.by_login("ann", HERE, Deadline(10))
    machines.hang = True
    asking.send(None)
    asking.close()
    machines.hang = False
    assert many(lambda: log_in(machines.limits, "ann", HERE)) == LOGIN
