"""Converts headers between pairs and the lines of a header block."""

import re
from collections.abc import Iterator
from typing import Final

__all__ = [
    "NAME_CHARACTERS",
    "HeaderPairs",
    "header_lines",
    "header_pairs",
    "header_values",
]

NAME_CHARACTERS: Final = rb"!#$%&'*+.^_`|~0-9A-Za-z-"
"""The characters of a header's name or a method (RFC 9110 5.6.2), for a regex set."""

HeaderPairs = tuple[tuple[str, str], ...]


def header_lines(headers: HeaderPairs) -> str:
    r"""The lines of a header block.

    >>> header_lines((("Age", "7"), ("X-Cache", "HIT")))
    'Age: 7\r\nX-Cache: HIT\r\n'
    """
    return "".join([f"{name}: {value}\r\n" for name, value in headers])


def header_pairs(lines: str) -> Iterator[tuple[str, str]]:
    r"""The headers in the lines of a block.

    >>> list(header_pairs("Age: 7\r\nX-Cache: HIT\r\n"))
    [('Age', '7'), ('X-Cache', 'HIT')]
    """
    for line in lines.split("\r\n")[:-1]:
        name, _, value = line.partition(": ")
        yield name, value


def header_values(head: bytes, name: str) -> list[str]:
    r"""The values of a header in an unparsed head, which may be incomplete.

    >>> header_values(b"GET / HTTP/1.1\r\nOrigin: a\r\nHost: b\r\nOrig", "origin")
    ['a']
    >>> header_values(b"PUT / HTTP/1.1\r\nOrigin: a\r\n\r\n\r\nOrigin: b\r\n", "origin")
    ['a']
    """
    end = head.find(b"\r\n\r\n")
    block = head if end < 0 else head[: end + 2]
    line = rb"\r\n(?i:%b):([^\r\n]*)(?=\r\n)" % re.escape(name.encode())
    return [value.decode("latin-1").strip(" \t") for value in re.findall(line, block)]
