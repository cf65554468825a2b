"""The resilience policy with its real parts, before a platform by script."""

import asyncio

from aims_server.deadline import Deadline
from aims_server.errors import (
    ApiError,
    TokenRefused,
    UpstreamBusy,
    UpstreamDropped,
    UpstreamError,
    UpstreamFault,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from aims_server.upstream.resilience import CallerKey
from aims_server.upstream.resilience.admission import Admission
from aims_server.upstream.resilience.bulkhead import Bulkhead
from aims_server.upstream.resilience.endpoint_breakers import EndpointBreakers
from aims_server.upstream.resilience.policy import ResiliencePolicy
from aims_server.upstream.resilience.retry import RetryBudget

REPEATED = [UpstreamDropped, UpstreamFault, UpstreamBusy, UpstreamUnreachable]
FINAL = [TokenRefused, UpstreamRejected, UpstreamError, UpstreamTimeout]

ME = CallerKey.student(1)
SOMEBODY = CallerKey.student(2)


class Told:
    """An observer that writes down what it is told."""

    def __init__(self):
        self.calls: list[tuple[str, str, float]] = []
        self.repeated: list[str] = []
        self.hedged: list[str] = []

    def call_finished(self, endpoint, outcome, seconds):
        """One call ended."""
        self.calls.append((endpoint, outcome, seconds))

    def call_repeated(self, endpoint):
        """One more is made."""
        self.repeated.append(endpoint)

    def call_hedged(self, endpoint, end):
        """A late call and its hedge."""
        self.hedged.append(end)

    @property
    def outcomes(self):
        """How the calls ended, in order."""
        return [outcome for _, outcome, _ in self.calls]


class Platform:
    """A server by script: each call takes its time, then ends as the script says."""

    def __init__(self, clock):
        self._clock = clock
        self.script: list[object] = []
        self.seconds = 0.1
        self.slow_once = 0.0
        self.fresh: list[bool] = []
        self.allowed: list[float] = []
        self.at: list[float] = []
        self.busy = self.peak = 0

    async def __call__(self, allowed, *, fresh):
        """One call; an exception in the script is raised, anything else returned."""
        self.allowed.append(allowed)
        self.fresh.append(fresh)
        seconds, self.slow_once = self.slow_once or self.seconds, 0.0
        self.at.append(self._clock())
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        try:
            await asyncio.sleep(min(seconds, allowed))
            if seconds > allowed:
                raise UpstreamTimeout
            result = self.script.pop(0) if self.script else "answer"
            if isinstance(result, BaseException):
                raise result
            return result
        finally:
            self.busy -= 1

    @property
    def calls(self):
        """How often it was called."""
        return len(self.at)


class Ticking:
    """A clock that goes on a little at each look."""

    step = 1e-6

    def __init__(self, clock):
        self._clock = clock
        self._looks = 0

    def __call__(self):
        """The time, later than at any look before."""
        self._looks += 1
        return self._clock() + self._looks * self.step


class Bench:
    """A guard with its real parts, on one clock."""

    def __init__(self, clock, *, size=10, floor=10.0, breaker_clock=None):
        self.clock = clock
        self.platform = Platform(clock)
        self.slots = Bulkhead(size, clock=clock)
        self.breakers = EndpointBreakers(
            ["cards", "quizzes", "login"],
            clock=breaker_clock or clock,
            random=lambda: 1.0,
        )
        self.budget = RetryBudget(clock=clock, share=0.25, floor=floor)
        self.told = Told()
        self.hedges = self.budget.for_hedges()
        self.failures: list[tuple[str, UpstreamError, float]] = []
        self.guard = self.policy(lambda: 0.5)

    def policy(self, random, **more):
        """The policy over these parts."""
        return ResiliencePolicy(
            Admission(self.slots, self.breakers, clock=self.clock),
            self.told,
            retries=self.budget,
            hedges=self.hedges,
            random=random,
            on_failure=lambda *told: self.failures.append(told),
            clock=self.clock,
            **more,
        )

    async def call(
        self, endpoint="cards", seconds=10.0, *, attempt=None, caller=ME, **more
    ):
        """One call through the guard, with a deadline of its own."""
        deadline = Deadline(seconds, self.clock)
        return await self.guard.call(
            endpoint, caller, attempt or self.platform, deadline, **more
        )

    async def outcome(self, endpoint="cards", seconds=10.0, **more):
        """The result of a call, or the error it ended with."""
        try:
            return await self.call(endpoint, seconds, **more)
        except ApiError as fault:
            return fault

    def state(self, endpoint="cards"):
        """The endpoint's breaker."""
        return self.breakers.state(endpoint).value

    async def trip(self, endpoint="cards"):
        """Let the platform fail until the endpoint's breaker is open."""
        for number in range(101, 104):
            self.platform.script = [UpstreamError()]
            await self.outcome(endpoint, caller=CallerKey.student(number))
        assert self.state(endpoint) == "open"

    @property
    def at_rest(self):
        """Whether every slot is back and nobody waits."""
        return self.slots.in_use == self.slots.waiting == 0
