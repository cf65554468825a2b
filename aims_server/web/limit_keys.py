"""The keys of limits: a client's network, and a user name in all its spellings."""

import ipaddress
import math
import unicodedata
from functools import lru_cache
from typing import Final

__all__ = ["address_key", "user_name_key"]

# A provider gives one customer such a network; the customer chooses the other bits.
_IPV6_PREFIX: Final = 64
# Letters and symbols that show nothing, or only lengthen a stroke. Every other one that
# a collation passes over is a mark or separator, or has a category of its own.
_IGNORED: Final = frozenset(
    "\u115f\u1160\u2800\u0640\u07fa\u0824\u0828\u180a\u1cd3\u1cf2\u1cf3\ufe73"
)
# UCA 5.2 and later, and so MySQL's default, take letters with a stroke for base letters
# with a mark. Unicode has no decomposition of them.
_UNSTRUCK: Final = str.maketrans("\u0111\u0127\u0142\u00f8", "dhlo")


@lru_cache(4096)  # parsing an address takes 3 µs, and a campus has one
def address_key(address: str) -> str:
    """The network that an address counts for: the address itself for IPv4, also written
    as IPv6, and its /64 for IPv6.

    >>> address_key("192.0.2.7"), address_key("2001:db8:0:7:1234::1")
    ('192.0.2.7', '2001:db8:0:7::')
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address  # the peer of a Unix socket has no IP address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    network = ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False)
    return str(network.network_address)


def user_name_key(name: str) -> str:
    """One key for all spellings that a platform's database could take for one account.

    Like MySQL's usual collations it ignores compatibility forms, case, marks, scripts
    of digits, blanks and invisible characters.

    >>> user_name_key(" \uff12023b1599999\u200b") == user_name_key("2023B\u03011599999")
    True
    """
    # Marks go first: one of them is a letter in upper case. Upper case before lower: a
    # collation may compare by it, and then a dotless i is an I.
    folded = _base(_base(name).upper().casefold())
    return "".join(map(_ascii_digit, folded.translate(_UNSTRUCK)))


def _base(text: str) -> str:
    """The characters that are left when compatibility forms are taken apart, without
    those that a collation passes over.
    """
    return "".join(
        character
        for character in unicodedata.normalize("NFKD", text)
        if unicodedata.category(character)[0] not in "MCZ" and character not in _IGNORED
    )


def _ascii_digit(character: str) -> str:
    # Numerals are digits to a collation, and Tibetan halves the digit above them.
    value = unicodedata.numeric(character, None)
    return character if value is None else str(math.ceil(value))
