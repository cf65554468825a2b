"""A request in its plainest form, read at a glance; every other form is left to the
full parser, with all its rules.
"""

import re
from typing import Final

__all__ = ["SimpleRequest", "parse_simple_request"]

SimpleRequest = tuple[str, str, dict[str, str], bytes]
"""Method, path, headers by their names in lower case, body."""

_LONGEST: Final = 8192
# A token for each name, printable ASCII for each value, CRLF for each end of a line: no
# folding, no blank before a colon, no bare CR or LF.
_HEAD: Final = re.compile(
    rb"(GET|POST) (/[a-z-/]*) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+)\r\n"
)
# One host, and an ordinary one.
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]-]+")
# What has a body framed otherwise than by its length, or asks for more than an answer.
_BINDING: Final = frozenset({"transfer-encoding", "expect", "upgrade", "trailer"})
_CONNECTION: Final = frozenset({"close", "keep-alive", "Keep-Alive"})


def parse_simple_request(received: bytes) -> SimpleRequest | None:
    """One whole GET without a body, or POST with one, of HTTP/1.1, without a query or a
    header that comes twice; None for all else, which says nothing of what is wrong with
    it, if anything is.

    The connection's only option, if it has any, is "keep-alive" or "close".
    """
    if len(received) > _LONGEST:
        return None
    match = _HEAD.match(received)
    if match is None:
        return None
    method, path, block = map(bytes.decode, match.groups())
    body = received[match.end() :]
    lines = block.split("\r\n")
    lines.pop()
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip(" \t")
    # The body is all that is there, and there is one only where it belongs.
    length = str(len(body)) if method == "POST" else None
    if (
        headers.get("content-length") != length
        or (body and length is None)
        or len(headers) != len(lines)
        or not _BINDING.isdisjoint(headers)
        or headers.get("connection", "close") not in _CONNECTION
        or not _HOST.fullmatch(headers.get("host", ""))
    ):
        return None
    return method, path, headers, body
