"""Mechanisms that are tested alone: their time."""

import pytest

from tests.virtual_time import Clock


@pytest.fixture(name="clock")
def _clock():
    """It passes only when a test says so, instead of the running service's."""
    return Clock()
