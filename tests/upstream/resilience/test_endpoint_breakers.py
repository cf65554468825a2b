"""Breakers by endpoint and by caller: what one does stays with that one."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aims_server.primitives import CircuitState
from aims_server.upstream.resilience import CallerKey
from aims_server.upstream.resilience.circuit_breaker import CircuitOpen
from aims_server.upstream.resilience.endpoint_breakers import EndpointBreakers
from tests.virtual_time import Clock

ENDPOINTS = ["login", "cards", "quizzes"]

student, address = CallerKey.student, CallerKey.address


@pytest.fixture(name="breakers")
def _breakers(clock):
    return EndpointBreakers(ENDPOINTS, clock=clock, random=lambda: 1.0)


def states(breakers):
    """The states of the endpoints, in order."""
    return list(breakers.states().values())


def test_an_endpoints_failures_open_that_endpoint(breakers):
    """The others go on."""
    for number in range(3):
        breakers.admit("cards", student(number)).failure()
    assert states(breakers) == ["closed", "open", "closed"]
    assert breakers.worst is CircuitState.OPEN
    breakers.admit("quizzes", student(1)).success()
    with pytest.raises(CircuitOpen):
        breakers.admit("cards", student(4))


def test_connections_that_cannot_be_made_open_all(breakers):
    """Three in a row, whoever wanted them."""
    for endpoint in ENDPOINTS:
        assert breakers.worst is CircuitState.CLOSED
        breakers.admit(endpoint, student(1)).unreachable()
    assert states(breakers) == ["open"] * 3


@pytest.mark.parametrize("told", ["success", "failure", "answered"])
def test_any_answer_shows_that_the_way_is_open(breakers, told):
    """Good, bad or a refusal: somebody was there."""
    for _ in range(2):
        breakers.admit("login", student(1)).unreachable()
    getattr(breakers.admit("cards", student(1)), told)()
    for _ in range(2):
        breakers.admit("login", student(1)).unreachable()
    assert breakers.worst is CircuitState.CLOSED


def test_a_call_that_its_endpoint_refuses_is_no_probe_of_the_way(clock):
    """A call to another endpoint may probe it."""
    chances = iter([1.0, 0.0])  # the endpoint is open for longer
    breakers = EndpointBreakers(ENDPOINTS, clock=clock, random=lambda: next(chances))
    for number in range(3):
        breakers.admit("cards", student(number)).failure()
    for _ in range(3):
        breakers.admit("login", student(1)).unreachable()
    clock.now += 4
    for _ in range(3):
        with pytest.raises(CircuitOpen):
            breakers.admit("cards", student(4))
    breakers.admit("login", student(1)).success()


def test_one_answer_reopens_the_way_for_all(breakers, clock):
    """It does so after the open time, whichever endpoint answered."""
    for _ in range(3):
        breakers.admit("login", student(1)).unreachable()
    clock.now += 5
    assert states(breakers) == ["half-open"] * 3
    breakers.admit("quizzes", address("192.0.2.7")).answered()
    assert states(breakers) == ["closed"] * 3


def test_a_platform_that_is_back_is_noticed_in_five_seconds(breakers, clock):
    """After any outage connections are tried again within 5 s."""
    for _ in range(20):
        for _ in range(3):
            breakers.admit("login", student(1)).unreachable()
        assert breakers.state("login") is CircuitState.OPEN
        clock.now += 5
        assert breakers.state("login") is CircuitState.HALF_OPEN


def test_a_refused_call_takes_no_probe_of_the_connections(breakers, clock):
    """An open endpoint costs the others nothing when both fail."""
    for number in range(3):
        breakers.admit("cards", student(number)).failure()
    for _ in range(3):
        breakers.admit("login", student(1)).unreachable()
    clock.now += 4
    for number in range(3):
        with pytest.raises(CircuitOpen):
            breakers.admit("cards", student(number))
    clock.now += 1
    for _ in range(3):
        breakers.admit("login", student(1))


def test_a_permit_counts_once(breakers):
    """Only the first outcome counts, so that `discard` may stand in a finally."""
    permits = [breakers.admit("cards", student(number)) for number in range(3)]
    for permit in permits:
        permit.discard()
        permit.failure()
    assert breakers.worst is CircuitState.CLOSED


def test_changes_are_told_by_endpoint(breakers, clock):
    """A change of the connections' breaker is reported for each endpoint."""
    told: list[tuple[str, CircuitState]] = []
    breakers.subscribe(lambda endpoint, state: told.append((endpoint, state)))
    for number in range(3):
        breakers.admit("cards", student(number)).failure()
    assert told == [("cards", CircuitState.OPEN)]
    told.clear()
    for _ in range(3):
        breakers.admit("login", student(1)).unreachable()
    assert told == [(endpoint, CircuitState.OPEN) for endpoint in ENDPOINTS]


class BlastRadius(RuleBasedStateMachine):
    """One student with odd data, strangers, and students who are served well."""

    def __init__(self):
        super().__init__()
        self.clock = Clock(100.0)
        self.breakers = EndpointBreakers(ENDPOINTS, clock=self.clock)
        self.time_passes(0.0)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 5.0, 9.0]))
    def time_passes(self, seconds):
        """Never ten seconds without a success of somebody verified."""
        self.clock.now += seconds
        for endpoint in ENDPOINTS:
            self.breakers.admit(endpoint, student("well served")).success()

    @rule(endpoint=st.sampled_from(ENDPOINTS), times=st.integers(1, 40))
    def odd_data(self, endpoint, times):
        """One verified student's calls fail."""
        for _ in range(times):
            self.breakers.admit(endpoint, student("odd")).failure()

    @rule(endpoint=st.sampled_from(ENDPOINTS), addresses=st.sets(st.integers(0, 99)))
    def strangers(self, endpoint, addresses):
        """Unverified callers' calls fail, of any number of addresses."""
        for number in addresses:
            self.breakers.admit(endpoint, address(number)).failure()

    @rule(endpoint=st.sampled_from(ENDPOINTS))
    def refused(self, endpoint):
        """Tokens are refused."""
        for number in range(30):
            self.breakers.admit(endpoint, address(number)).answered()

    @invariant()
    def nothing_opens(self):
        """Whatever they do, everybody else goes on."""
        assert self.breakers.worst is CircuitState.CLOSED


TestBlastRadius = BlastRadius.TestCase
TestBlastRadius.settings = settings(max_examples=40, stateful_step_count=40)
