"""A request's head in its plainest form, read at a glance; every other form is left to
the full parser, with all its rules.
"""

import re
from typing import Final

__all__ = ["plain_get"]

_LONGEST: Final = 8192
# One GET and nothing behind it. A token for each name, printable ASCII for each value,
# CRLF for each end of a line: no folding, no blank before a colon, no bare CR or LF.
_GET: Final = re.compile(
    r"GET (/[a-z-/]*) HTTP/1\.1\r\n"
    r"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+)\r\n"
)
# One host, and an ordinary one.
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]-]+")
# What says that a body follows, or asks for more than an answer.
_BINDING: Final = frozenset(
    {"content-length", "transfer-encoding", "expect", "upgrade", "trailer"}
)
_CONNECTION: Final = frozenset({"close", "keep-alive", "Keep-Alive"})


def plain_get(received: bytes) -> tuple[str, dict[str, str]] | None:
    """Path and headers, by their names in lower case, of one whole GET of HTTP/1.1
    without a query, a body or a header that comes twice; None for all else, which says
    nothing of what is wrong with it, if anything is.

    The connection's only option, if it has any, is "keep-alive" or "close".
    """
    if len(received) > _LONGEST or not received.isascii():
        return None
    match = _GET.fullmatch(received.decode())
    if match is None:
        return None
    path, block = match.groups()
    lines = block.split("\r\n")
    lines.pop()
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip(" \t")
    if len(headers) != len(lines) or not _BINDING.isdisjoint(headers):
        return None
    if headers.get("connection", "close") not in _CONNECTION:
        return None
    if not _HOST.fullmatch(headers.get("host", "")):
        return None
    return path, headers
