"""Parses simple requests with one regular expression; leaves all others to Tornado's
parser.
"""

import re
from collections.abc import Sequence
from typing import Final

from .headers import NAME_CHARACTERS

__all__ = [
    "MAX_HEAD_LINES",
    "MAX_NAME_BYTES",
    "AnswerParts",
    "SimpleRequest",
    "parse_simple_request",
]

SimpleRequest = tuple[str, str, dict[str, str], bytes]
"""Method, path, headers by lower-case name, body."""

AnswerParts = tuple[Sequence[bytes], bool]
"""An answer's head and body, and whether the connection closes after them."""

# Of any request, the empty line included. 4000, which fit into a head of 32 KiB, would
# hold the loop for 12 ms.
MAX_HEAD_LINES: Final = 256
# Of a method or a header's name. Tornado remembers the last 1000 names for ever: of
# 32 KiB each they took 60 MB of every worker.
MAX_NAME_BYTES: Final = 256
_MAX_BYTES: Final = 8192
# Each name is a token, each value printable ASCII, each line ends with CRLF: no
# folding, no blank before a colon, no bare CR or LF. The expression never backtracks:
# the end of a name, a value or the block cannot be a part of it.
_HEAD: Final = re.compile(
    rb"(GET|HEAD|POST) (/[a-z-/]*) HTTP/1\.1\r\n"
    rb"((?:[%b]{1,%d}+:[\t -~]*+\r\n)++)\r\n" % (NAME_CHARACTERS, MAX_NAME_BYTES)
)
# A host name or address with an optional port; names within a machine have a "_" too.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# Headers that frame a body otherwise than by its length, encode it, or ask for more
# than an answer.
_EXCLUDED: Final = frozenset(
    {"transfer-encoding", "content-encoding", "expect", "upgrade", "trailer"}
)
_CONNECTION: Final = frozenset({"close", "keep-alive", "Keep-Alive"})


def parse_simple_request(received: bytes) -> SimpleRequest | None:
    r"""One whole HTTP/1.1 GET or HEAD without a body, or POST with one; None for all
    else, valid or not.

    A simple request has no query and no repeated header; its ``Connection`` has at most
    one option, "keep-alive" or "close".

    >>> parse_simple_request(b"GET /api/quiz HTTP/1.1\r\nHost: a.example\r\n\r\n")
    ('GET', '/api/quiz', {'host': 'a.example'}, b'')
    >>> parse_simple_request(b"GET /api/quiz?x=1 HTTP/1.1\r\nHost: a.example\r\n\r\n")
    """
    if len(received) > _MAX_BYTES:
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
    # The body is everything after the head, and only a POST has one.
    length = str(len(body)) if method == "POST" else None
    if (
        headers.get("content-length") != length
        or (body and length is None)
        or len(headers) != len(lines)
        or len(lines) > MAX_HEAD_LINES - 2
        or not _EXCLUDED.isdisjoint(headers)
        or headers.get("connection", "close") not in _CONNECTION
        or not _HOST.fullmatch(headers.get("host", ""))
    ):
        return None
    return method, path, headers, body
