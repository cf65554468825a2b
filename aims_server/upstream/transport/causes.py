"""Why a transfer failed: a cause fit for a log line, without URL, header or body, and
the error of ours that it becomes.
"""

import errno
import os
import re
from typing import Final

import pycurl

from ...errors import (
    FailureCause,
    UpstreamDropped,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)

__all__ = ["cause_of", "error_of", "timings"]

_E_PROXY: Final = 97  # pycurl has no names for these
_E_HTTP2_STREAM: Final = 92
_E_TOO_LARGE: Final = 100
_KINDS: Final = {
    pycurl.E_COULDNT_RESOLVE_HOST: "name_not_found",
    pycurl.E_COULDNT_RESOLVE_PROXY: "proxy_name_not_found",
    _E_PROXY: "proxy",
    pycurl.E_PEER_FAILED_VERIFICATION: "certificate",
    pycurl.E_SSL_ISSUER_ERROR: "certificate",
    pycurl.E_SSL_INVALIDCERTSTATUS: "certificate",
    pycurl.E_SSL_CACERT_BADFILE: "certificate_authorities",
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_SSL_CIPHER: "tls",
    pycurl.E_FTP_WEIRD_SERVER_REPLY: "not_http",  # of old for any server, not of FTP
    pycurl.E_UNSUPPORTED_PROTOCOL: "not_http",
    pycurl.E_HTTP2: "http2",
    _E_HTTP2_STREAM: "http2_stream",
    pycurl.E_BAD_CONTENT_ENCODING: "bad_gzip",
    _E_TOO_LARGE: "too_large",
}
# Every other kind is an answer that cannot be used.
_ERRORS: Final[dict[str, type[UpstreamError]]] = {
    "name_not_found": UpstreamUnreachable,
    "proxy_name_not_found": UpstreamUnreachable,
    "proxy": UpstreamUnreachable,
    "refused": UpstreamUnreachable,
    "unreachable": UpstreamUnreachable,
    "certificate": UpstreamUnreachable,
    "certificate_authorities": UpstreamUnreachable,
    "tls": UpstreamUnreachable,
    "dropped_while_connecting": UpstreamUnreachable,
    "timeout_name": UpstreamUnreachable,
    "timeout_connect": UpstreamUnreachable,
    "timeout_tls": UpstreamUnreachable,
    "timeout_first_byte": UpstreamTimeout,
    "timeout_in_body": UpstreamTimeout,
    "dropped_before_answer": UpstreamDropped,
    "dropped_in_body": UpstreamDropped,
    "http2": UpstreamDropped,  # the connection's end among it
    "http2_stream": UpstreamDropped,
}
# Curl's message is logged for these kinds, where it names a rule and quotes no URL.
_TELLING: Final = frozenset({"certificate", "certificate_authorities", "tls"})
_UNSAFE: Final = r"[^ -~]|https?://\S*"
_LONGEST_DETAIL: Final = 200


def cause_of(
    curl: pycurl.Curl, error: int, message: str, *, sent: bool, answered: bool
) -> FailureCause:
    """The cause of a failed transfer, from its handle and curl's error.

    ``sent`` and ``answered`` say how far it got. Curl's own times do not: a failure
    sets those of steps that were never reached.
    """
    if error == pycurl.E_OPERATION_TIMEDOUT:
        if sent:
            return FailureCause("timeout_in_body" if answered else "timeout_first_byte")
        if not curl.getinfo(pycurl.NAMELOOKUP_TIME):
            return FailureCause("timeout_name")
        connected = curl.getinfo(pycurl.CONNECT_TIME)
        return FailureCause("timeout_tls" if connected else "timeout_connect")
    tunnel = curl.getinfo(pycurl.HTTP_CONNECTCODE)
    if tunnel and tunnel // 100 != 2:
        return FailureCause("proxy", f"it answered {tunnel}")
    if error == pycurl.E_COULDNT_CONNECT:
        number = curl.getinfo(pycurl.OS_ERRNO)
        kind = "refused" if number == errno.ECONNREFUSED else "unreachable"
        return FailureCause(kind, os.strerror(number) if number else "")
    kind = _KINDS.get(error, "")
    if not kind:
        kind = "dropped_in_body" if answered else "dropped_before_answer"
        if not sent:
            kind = "dropped_while_connecting"
    detail = re.sub(_UNSAFE, "?", message)[:_LONGEST_DETAIL] if kind in _TELLING else ""
    return FailureCause(kind, detail)


def error_of(
    cause: FailureCause, seconds: float, *, connect_seconds: float
) -> UpstreamError:
    """Our error, with its cause, for a call that had so many ``seconds`` in all and
    ``connect_seconds`` of them to connect.
    """
    kind = _ERRORS.get(cause.kind, UpstreamError)
    if cause.kind.startswith("timeout_") and seconds <= connect_seconds:
        # The call had less time than connecting may take: the server may just be slow.
        kind = UpstreamTimeout
    error = kind()
    error.cause = cause
    return error


def timings(curl: pycurl.Curl) -> str:
    """When each step of a transfer ended, in milliseconds from its beginning; 0 for a
    step that a kept connection did not need. Shows only the host's address of the URL.
    """
    seconds = (
        ("name", curl.getinfo(pycurl.NAMELOOKUP_TIME)),
        ("connect", curl.getinfo(pycurl.CONNECT_TIME)),
        ("tls", curl.getinfo(pycurl.APPCONNECT_TIME)),
        ("first_byte", curl.getinfo(pycurl.STARTTRANSFER_TIME)),
        ("total", curl.getinfo(pycurl.TOTAL_TIME)),
    )
    reused = "kept" if not curl.getinfo(pycurl.NUM_CONNECTS) else "new"
    steps = " ".join(f"{step}={1000 * when:.1f}" for step, when in seconds)
    return f"{reused} connection, ms: {steps}"
