"""Who may ask how often: which bucket counts whom, and what the headers say of it."""

import re

import pytest

from aims_server.errors import RateLimited
from aims_server.ratelimit import BucketTable, RateLimiter
from aims_server.web.quotas import RequestLimits
from aims_server.web.sessions import Session

STUDENT, ADDRESS, LOGIN = 6, 12, 3  # per minute: a token each 10, 5 and 20 seconds


class ClockNs:
    """Nanoseconds that pass only when told."""

    def __init__(self):
        self.now = 10**15

    def __call__(self):
        """The time, as the limiter reads it."""
        return self.now

    def advance(self, seconds):
        """Let time pass."""
        self.now += round(seconds * 10**9)


@pytest.fixture(name="clock")
def _clock() -> ClockNs:
    return ClockNs()


@pytest.fixture(name="limits")
def _limits(clock) -> RequestLimits:
    table = BucketTable(1024)

    def limiter(name, per_minute):
        return RateLimiter(
            table, name=name, per_minute=per_minute, secret=b"s", clock_ns=clock
        )

    return RequestLimits(
        student=limiter("student", STUDENT),
        address=limiter("address", ADDRESS),
        login=limiter("login", LOGIN),
    )


def session_of(student_id: int | None, name: str, *, verified: bool) -> Session:
    """A session as the reader makes it, vouched for or not."""
    session = Session(name.encode().ljust(32), student_id, None)
    if verified:
        session.verify(student_id)
    return session


def passed(quotas) -> int:
    """How many of these requests may go on."""
    return sum(quota.decision.allowed for quota in quotas)


def many(take, number=30) -> int:
    """How many of so many requests may go on."""
    return passed([take() for _ in range(number)])


def test_each_kind_has_its_own_bucket(limits):
    """By address, by session and by user name, each with its own capacity."""
    session = session_of(5, "a", verified=True)
    assert many(lambda: limits.by_address("192.0.2.1")) == ADDRESS
    assert many(lambda: limits.by_session(session)) == STUDENT
    assert many(lambda: limits.by_user_name("2023B1599999")) == LOGIN


def test_one_clients_bucket_is_nobody_elses(limits):
    """An exhausted address, session or user name leaves all others full."""
    many(lambda: limits.by_address("192.0.2.1"))
    many(lambda: limits.by_session(session_of(5, "a", verified=True)))
    many(lambda: limits.by_user_name("one"))
    assert many(lambda: limits.by_address("192.0.2.2")) == ADDRESS
    other = session_of(6, "b", verified=True)
    assert many(lambda: limits.by_session(other)) == STUDENT
    assert many(lambda: limits.by_user_name("two")) == LOGIN


def test_several_logins_of_a_student_share_one_quota(limits):
    """A new token is no new bucket, once the platform has vouched for it."""
    quotas = [
        limits.by_session(session_of(5, f"token-{number}", verified=True))
        for number in range(30)
    ]
    assert passed(quotas) == STUDENT


def test_a_made_up_token_uses_up_nothing_of_the_student_it_names(limits):
    """Its claim counts for nothing until the platform has vouched for it."""
    for number in range(30):
        limits.by_session(session_of(5, f"made-up-{number}", verified=False))
    real = session_of(5, "real", verified=True)
    assert many(lambda: limits.by_session(real)) == STUDENT


def test_an_unproven_token_is_counted_by_itself(limits):
    """Whatever it claims, and whether it claims anything."""
    for student_id in (None, 5):
        session = session_of(student_id, f"unproven-{student_id}", verified=False)
        assert many(lambda one=session: limits.by_session(one)) == STUDENT


def test_a_token_does_not_get_a_second_bucket_by_being_proven(limits):
    """What it used up before counts on."""
    session = session_of(5, "a", verified=False)
    many(lambda: limits.by_session(session))
    session.verify(5)
    assert many(lambda: limits.by_session(session)) == 0


def test_a_refused_token_uses_up_nothing_of_its_student(limits):
    """Whoever goes on asking with one token leaves the others theirs."""
    session = session_of(5, "a", verified=False)
    many(lambda: limits.by_session(session))
    session.verify(5)
    many(lambda: limits.by_session(session))
    other = session_of(5, "b", verified=True)
    assert many(lambda: limits.by_session(other)) == STUDENT


def test_a_refused_student_uses_up_nothing_of_the_token(limits, clock):
    """With two tokens that are hammered alike, the told wait is the true one."""
    sessions = [session_of(5, name, verified=True) for name in "ab"]
    for _ in range(10):
        for session in sessions:
            limits.by_session(session)
    refused = limits.by_session(sessions[0])
    assert not refused.decision.allowed
    clock.advance(refused.decision.retry_after)
    assert limits.by_session(sessions[0]).decision.allowed


def test_a_session_is_told_the_scarcer_of_its_two_quotas(limits):
    """What is left is what is left of both."""
    for _ in range(4):
        limits.by_session(session_of(5, "one", verified=True))
    quota = limits.by_session(session_of(5, "other", verified=True))
    assert quota.decision.remaining == STUDENT - 5


@pytest.mark.parametrize("name", ["2023b1599999", " 2023B1599999 ", "2023B1599999"])
def test_a_user_name_has_no_case_and_no_blanks(limits, name):
    """Or a password could be tried under many spellings of one name."""
    many(lambda: limits.by_user_name("2023B1599999"))
    assert many(lambda: limits.by_user_name(name)) == 0


def test_a_refusal_is_over_exactly_when_it_says(limits, clock):
    """A nanosecond before, no; then, yes; and then not at once again."""
    session = session_of(5, "a", verified=True)
    many(lambda: limits.by_session(session))
    refused = limits.by_session(session)
    with pytest.raises(RateLimited):
        refused.check()
    clock.advance(refused.decision.retry_after - 1e-9)
    assert not limits.by_session(session).decision.allowed
    clock.advance(1e-9)
    limits.by_session(session).check()
    assert not limits.by_session(session).decision.allowed


def test_a_refusal_names_its_bucket(limits):
    """For the metrics, which count refusals by kind."""
    many(lambda: limits.by_user_name("a"))
    with pytest.raises(RateLimited) as caught:
        limits.by_user_name("a").check()
    assert caught.value.kind == "login"


def test_the_headers_tell_policy_and_rest(limits, clock):
    """`q` a window of `w` seconds, `r` left, all of it back in `t` seconds."""
    headers = [dict(limits.by_address("192.0.2.1").headers()) for _ in range(ADDRESS)]
    assert {each["RateLimit-Policy"] for each in headers} == {'"address";q=12;w=60'}
    assert headers[0]["RateLimit"] == '"address";r=11;t=5'
    assert headers[5]["RateLimit"] == '"address";r=6;t=30'
    assert headers[-1]["RateLimit"] == '"address";r=0;t=60'
    clock.advance(30)
    later = dict(limits.by_address("192.0.2.1").headers())
    assert later["RateLimit"] == '"address";r=5;t=35'


def test_a_refused_request_is_told_the_wait(limits, clock):
    """`t` and `Retry-After` are the same whole seconds, never too early, never 0."""
    many(lambda: limits.by_address("192.0.2.1"))
    for passed_seconds in (0, 0.3, 4, 0.69, 0.009):
        clock.advance(passed_seconds)
        quota = limits.by_address("192.0.2.1")
        with pytest.raises(RateLimited) as caught:
            quota.check()
        rest = re.fullmatch(
            r'"address";r=0;t=(\d+)', dict(quota.headers())["RateLimit"]
        )
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
    """It is refused once more on the usual way, and counted there."""
    session = session_of(1, "a", verified=True)
    while limits.by_both("10.0.0.1", session):
        pass
    assert limits.by_address("10.0.0.1").decision.remaining == ADDRESS - STUDENT - 1


@pytest.mark.parametrize("verified", [True, False])
def test_an_address_that_is_refused_costs_the_student_nothing(limits, verified):
    """Neither the token's bucket nor the student's."""
    for number in range(ADDRESS):
        assert limits.by_both("10.0.0.1", session_of(100 + number, str(number),
                                                     verified=True))  # fmt: skip
    session = session_of(1, "a", verified=verified)
    assert limits.by_both("10.0.0.1", session) is None
    assert limits.by_session(session).decision.remaining == STUDENT - 1
