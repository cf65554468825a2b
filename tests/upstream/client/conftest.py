"""The client with all its real parts, before the simulated platform."""

import logging
import time

import pytest

from aims_server.deadline import Deadline
from aims_server.demo.college import College
from aims_server.errors import (
    ApiError,
)
from aims_server.logs import RateLimitedLog
from aims_server.primitives import SerialExecutor
from aims_server.upstream.answers import Oddities
from aims_server.upstream.client import ENDPOINTS as ALL_ENDPOINTS
from aims_server.upstream.client import UpstreamClient
from aims_server.upstream.resilience import CallerKey
from aims_server.upstream.resilience.admission import Admission
from aims_server.upstream.resilience.bulkhead import Bulkhead
from aims_server.upstream.resilience.endpoint_breakers import EndpointBreakers
from aims_server.upstream.resilience.policy import ResiliencePolicy
from aims_server.upstream.resilience.retry import RetryBudget
from aims_server.upstream.transport import Transport
from tests.virtual_time import Clock
from tests.waiting import PATIENCE_SECONDS

ORIGIN = "https://abes.web.simplifii.com"


CANARY = "canary-0123456789"


class Unobserved:
    """An observer that nobody asks."""

    def call_finished(self, endpoint, outcome, seconds):
        """One call ended."""

    def call_repeated(self, endpoint):
        """One more is made."""

    def call_hedged(self, endpoint, end):
        """One more is made beside a late one."""


class Student:
    """A student of the platform, and what they can ask."""

    def __init__(self, client, college, number=0):
        self.client = client
        self.college = college
        self.student = college.student(number)
        self.caller = CallerKey.student(self.student.id)
        self.token = college.token(self.student)
        self.courses = college.courses(self.student)

    async def log_in(self, username=None, password=None, seconds=PATIENCE_SECONDS):
        """A login, with the right credentials where none are given."""
        return await self.client.log_in(
            username or self.student.username,
            password or self.student.password,
            CallerKey.address("192.0.2.1"),
            Deadline(seconds),
        )

    async def course_files(self, seconds=PATIENCE_SECONDS):
        """The course files."""
        return await self.client.course_files(
            self.token, self.caller, Deadline(seconds)
        )

    async def cards(self, cf_id=None, seconds=PATIENCE_SECONDS):
        """The records of a course, the first where none is named."""
        cf_id = cf_id or self.courses[0].cf_id
        return await self.client.cards(
            self.token, self.caller, self.student.id, cf_id, Deadline(seconds)
        )

    async def quizzes(self, seconds=PATIENCE_SECONDS):
        """The quizzes."""
        return await self.client.quizzes(self.token, self.caller, Deadline(seconds))

    async def fault(self, ask, **more) -> ApiError:
        """The error that a call ends with."""
        with pytest.raises(ApiError) as caught:
            await ask(**more)
        return caught.value


@pytest.fixture(scope="module", name="college")
def _college():
    return College(students=20)


async def client_of(
    base_url: str, *, authorities: bytes = b"", clock=time.monotonic
) -> UpstreamClient:
    """A client with all its real parts, which repeats at once what it repeats; no time
    passes for the pauses that the platform asks for. By ``clock`` calls are late.
    """
    retries = RetryBudget(floor=4)
    guard = ResiliencePolicy(
        Admission(Bulkhead(20), EndpointBreakers(ALL_ENDPOINTS), clock=Clock()),
        Unobserved(),
        retries=retries,
        hedges=retries.for_hedges(),
        random=lambda: 0.0,
        clock=clock,
    )
    log = RateLimitedLog(logging.getLogger(__name__))
    oddities = Oddities(lambda *_: None, log)
    transport = Transport(20, "test", authorities=authorities)
    return UpstreamClient(
        transport, guard, base_url, ORIGIN, oddities, SerialExecutor()
    )


@pytest.fixture(name="client")
def _client(io_loop, platform, hedges):
    client = io_loop.run_sync(lambda: client_of(platform.base_url))
    yield client
    io_loop.run_sync(client.close)


@pytest.fixture(name="student")
def _student(client, college) -> Student:
    return Student(client, college)


ENDPOINTS = ["course_files", "cards", "quizzes"]
