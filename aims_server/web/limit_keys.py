"""The keys of limits: a client's network, and a user name in all its spellings."""

import ipaddress
import math
import re
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
# A collation takes a Latin letter with a stroke, of an old hand, on a tile or over
# another for the letter itself; only its name tells. Tags are invisible.
_LATIN: Final = re.compile(
    "(?<!TAG )LATIN (?:SMALL|CAPITAL) (?:LETTER|LIGATURE) "
    "(?:INSULAR |LONG )?([A-Z]{1,2})(?: |$)"
)


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
    plain = "".join(map(_plain, unicodedata.normalize("NFKD", name)))
    # Upper case first: a collation may compare by it, and then a dotless i is an I.
    return plain.upper().casefold()


def _plain(character: str) -> str:
    """What a collation compares of a character that has no decomposition."""
    value = unicodedata.numeric(character, None)
    if value is not None:
        # Numerals are digits to a collation, and Tibetan halves the digit above them.
        return str(math.ceil(value))
    latin = _LATIN.search(unicodedata.name(character, ""))
    if latin is not None:
        return latin[1]
    if unicodedata.category(character)[0] in "MCZ" or character in _IGNORED:
        return ""
    return character
