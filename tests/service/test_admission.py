"""What a page reserves of the platform's capacity."""

from contextlib import nullcontext
from typing import Any, cast

import pytest

from aims_server.primitives import Epochs
from aims_server.service.admission import PageAdmission
from aims_server.upstream import UpstreamClient
from aims_server.web import Caller, SessionReader


class Capacity:
    """Notes what is reserved."""

    def __init__(self) -> None:
        self.reserved: list[tuple[int, float]] = []

    def reserve(self, caller: Any, calls: int, seconds: float):
        """Whatever is asked for."""
        self.reserved.append((calls, seconds))
        return nullcontext()


@pytest.fixture(name="capacity")
def _capacity() -> Capacity:
    return Capacity()


@pytest.fixture(name="admission")
def _admission(capacity) -> PageAdmission:
    return PageAdmission(cast(UpstreamClient, capacity), request_seconds=10.0)


@pytest.fixture(name="caller")
def _caller() -> Caller:
    reader = SessionReader(b"secret" * 6, Epochs())
    return reader.caller("a.b.c", "192.0.2.1")


def test_calls_are_reserved_in_a_part_of_a_requests_time(admission, capacity, caller):
    """It is seven tenths; calls may become slower meanwhile."""
    with admission.reserve(caller, 2):
        pass
    assert capacity.reserved == [(2, 7.0)]


def test_a_call_that_timed_out_is_expected_a_fifth_later(admission):
    """Retry-After is a fifth of a request's time."""
    assert admission.too_late().retry_after == 2.0
