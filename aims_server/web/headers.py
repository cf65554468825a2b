"""Headers as pairs, and as they stand in a header block."""

from collections.abc import Iterator

__all__ = ["HeaderPairs", "header_lines", "header_pairs"]

HeaderPairs = tuple[tuple[str, str], ...]


def header_lines(headers: HeaderPairs) -> str:
    r"""Headers as they stand in a header block.

    >>> header_lines((("Age", "7"), ("X-Cache", "HIT")))
    'Age: 7\r\nX-Cache: HIT\r\n'
    """
    return "".join([f"{name}: {value}\r\n" for name, value in headers])


def header_pairs(lines: str) -> Iterator[tuple[str, str]]:
    r"""The headers of such a block.

    >>> list(header_pairs("Age: 7\r\nX-Cache: HIT\r\n"))
    [('Age', '7'), ('X-Cache', 'HIT')]
    """
    for line in lines.split("\r\n")[:-1]:
        name, _, value = line.partition(": ")
        yield name, value
