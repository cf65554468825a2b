"""Which error a failed call is, by the kind of its cause."""

import pytest

from aims_server.errors import (
    FailureCause,
    UpstreamDropped,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from aims_server.upstream.transport.causes import error_of


@pytest.mark.parametrize(
    ("kind", "seconds", "error"),
    [
        ("refused", 1.0, UpstreamUnreachable),
        ("dropped_before_answer", 6.0, UpstreamDropped),
        ("dropped_in_body", 6.0, UpstreamDropped),
        ("http2", 6.0, UpstreamDropped),
        ("http2_stream", 6.0, UpstreamDropped),
        ("timeout_first_byte", 6.0, UpstreamTimeout),
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


@pytest.mark.parametrize(
    "kind",
    [
        *("name_not_found", "proxy_name_not_found", "timeout_name", "unreachable"),
        *("certificate_authorities", "tls", "timeout_tls", "dropped_while_connecting"),
    ],
)
def test_what_fails_before_a_request_is_sent_is_no_students_fault(kind):
    """It opens every circuit after one student's tries."""
    made = error_of(FailureCause(kind), 6.0, connect_seconds=5.0)
    assert type(made) is UpstreamUnreachable
