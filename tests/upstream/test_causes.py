"""Which error a failed call is, by the kind of its cause."""

import pytest

from aims_server.errors import (
    FailureCause,
    UpstreamDropped,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from aims_server.upstream.causes import error_of


@pytest.mark.parametrize(
    ("kind", "seconds", "error"),
    [
        ("refused", 1.0, UpstreamUnreachable),
        ("dropped_in_body", 6.0, UpstreamDropped),
        ("http2_stream", 6.0, UpstreamDropped),
        ("timeout_in_body", 6.0, UpstreamTimeout),
        ("timeout_connect", 6.0, UpstreamUnreachable),
        ("timeout_connect", 5.0, UpstreamTimeout),
        ("too_large", 6.0, UpstreamError),
    ],
)
def test_the_kind_of_a_cause_decides_the_error(kind, seconds, error):
    """No connection in 5 s is no connection at all; in less, a late answer."""
    made = error_of(FailureCause(kind), seconds, connect_seconds=5.0)
    assert type(made) is error
    assert made.cause == FailureCause(kind)
