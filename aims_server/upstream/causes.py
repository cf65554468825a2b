"""Why a transfer failed, in words fit for a log line: what curl knows, without URL,
header or body.
"""

import errno
import os
import re
from typing import Final

import pycurl

from ..errors import FailureCause

__all__ = ["cause_of", "timings"]

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
# Curl's own words are taken where they name a rule, never where they may quote a URL.
_TELLING: Final = frozenset({"certificate", "certificate_authorities", "tls"})
_UNSAFE: Final = r"[^ -~]|https?://\S*"
_LONGEST_DETAIL: Final = 200


def cause_of(
    curl: pycurl.Curl, error: int, message: str, *, sent: bool, answered: bool
) -> FailureCause:
    """The cause of a failed transfer, told by its handle and curl's error.

    ``sent`` and ``answered`` say how far it came: curl's own times do not, as a failure
    sets those of the steps that were never reached.
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


def timings(curl: pycurl.Curl) -> str:
    """When each step of a transfer was done, in milliseconds from its beginning; 0 for
    one that a kept connection did not need. No part of the URL but its host's address.
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
