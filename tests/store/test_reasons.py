"""Why the store did not answer, in words that hold nothing of a student's."""

import pytest
from redis.exceptions import BusyLoadingError, ConnectionError, ResponseError

from aims_server.store.reasons import reason_in, reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ResponseError("MISCONF Errors writing to the disk"), "MISCONF"),
        (ResponseError("OOM command not allowed"), "it is full and may forget nothing"),
        (ResponseError("2023B1599999 is the key"), "ResponseError"),
        (ResponseError("Ann Nobody"), "ResponseError"),
        (ConnectionError("KEY that was asked for"), "it closed the connection"),
        (ConnectionRefusedError(111, "KEY"), "Connection refused"),
        (KeyError("2023B1599999"), "KeyError"),
    ],
)
def test_only_a_servers_own_word_is_told(error, reason):
    """One in capitals; of any other text what kind of error it is."""
    assert reason_of(error).startswith(reason)


def test_an_errors_kind_tells_more_than_its_cause():
    """As when a server that is still reading its data has the connection fail."""
    error = BusyLoadingError()
    error.__context__ = ValueError()
    assert reason_of(error) == "it is reading its data"


def test_an_error_that_is_no_text_is_told():
    """A script passes on whatever bytes a server says."""
    assert reason_in(b"NOSCRIPT \xff") == "NOSCRIPT"
