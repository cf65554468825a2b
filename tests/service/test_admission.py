"""What a page reserves of the platform's capacity, and for how long."""

from contextlib import contextmanager
from typing import Any, cast

import pytest

from aims_server.primitives import Epochs
from aims_server.service.admission import PageAdmission
from aims_server.upstream import UpstreamClient
from aims_server.web import Caller, SessionReader


class Capacity:
    """Notes what is reserved, and until when."""

    def __init__(self) -> None:
        self.reserved: list[tuple[int, float]] = []
        self.held = 0

    @contextmanager
    def reserve(self, caller: Any, calls: int, seconds: float):
        """Whatever is asked for."""
        self.reserved.append((calls, seconds))
        self.held += calls
        yield None
        self.held -= calls


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


def test_the_first_call_reserves_for_all(admission, capacity, caller):
    """It reserves for the page once, in seven tenths of its time, until it is done."""
    with admission.reserve_when_needed(caller, 2) as admit:
        for _ in range(2):
            with admit():
                assert capacity.held == 2
        assert capacity.held == 2
    assert capacity.held == 0
    assert capacity.reserved == [(2, 7.0)]


def test_kept_answers_reserve_nothing(admission, capacity, caller):
    """A page that makes no call takes nobody's place."""
    with admission.reserve_when_needed(caller, 2):
        assert capacity.held == 0
    assert capacity.reserved == []


def test_a_call_behind_the_page_reserves_itself_alone(admission, capacity, caller):
    """A refresh of what was kept begins when the page is over."""
    with admission.reserve_when_needed(caller, 2) as admit:
        pass
    with admit():
        assert capacity.held == 1
    assert capacity.held == 0


def test_a_call_that_timed_out_is_expected_a_fifth_later(admission):
    """Retry-After is a fifth of a request's time."""
    assert admission.too_late().retry_after == 2.0
