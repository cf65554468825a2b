"""Finds a client's address: the socket's peer, or the address that trusted proxies
forward.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Final

from ..primitives import UNIX_PEER, TrustedProxy

__all__ = ["client_address", "is_trusted"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# "203.0.113.7:4711", "[2001:db8::1]" and "[2001:db8::1]:4711", as some proxies write.
_WITH_PORT: Final = (
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<v4>[0-9.]+))(?::[0-9]{1,5})?"
)

# There are few proxies in front of the service. 32 KiB of trusted addresses, invented
# by a client, would hold the loop for a quarter of a second.
_MOST_HOPS: Final = 32


def client_address(
    peer: str, forwarded_for: Sequence[str], trusted: Sequence[TrustedProxy]
) -> str:
    """The socket's peer, unless that is a trusted proxy: then the right-most address of
    ``X-Forwarded-For`` that is not itself a trusted proxy.

    Everything left of it was written by the client and proves nothing.

    >>> trusted = [ipaddress.ip_network("10.0.0.0/8")]
    >>> client_address("10.0.0.1", ["192.0.2.9, 203.0.113.7:4711"], trusted)
    '203.0.113.7'
    """
    if not trusted:
        return peer
    nearest = peer
    for hop in _hops(peer, forwarded_for):
        if hop == UNIX_PEER and hop is peer:
            if UNIX_PEER not in trusted:
                return nearest
            continue
        address = _parsed(hop)
        if address is None:
            return nearest
        nearest = str(address)
        if not _is_in(address, trusted):
            return nearest
    return nearest


def is_trusted(peer: str, trusted: Sequence[TrustedProxy]) -> bool:
    """Whether a socket's peer is one of the trusted proxies."""
    if peer == UNIX_PEER:
        return UNIX_PEER in trusted
    address = _parsed(peer)
    return address is not None and _is_in(address, trusted)


def _is_in(address: Address, trusted: Sequence[TrustedProxy]) -> bool:
    return any(
        address in network for network in trusted if not isinstance(network, str)
    )


def _hops(peer: str, forwarded_for: Sequence[str]) -> Iterator[str]:
    """The addresses through which a request came, the nearest first."""
    yield peer
    members = ",".join(forwarded_for).rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]
    # RFC 9110 5.6.1: empty members are ignored
    yield from filter(None, map(str.strip, reversed(members)))


def _parsed(text: str) -> Address | None:
    match = re.fullmatch(_WITH_PORT, text)
    try:
        address = ipaddress.ip_address(
            # Without a zone, which may have any length and names a link elsewhere
            (match["v6"] or match["v4"] if match else text).partition("%")[0]
        )
    except ValueError:
        return None
    # A dual-stack socket gives IPv4 peers as IPv4-mapped IPv6 addresses.
    return getattr(address, "ipv4_mapped", None) or address
