"""How the peers of sockets are named, and those of them that are trusted as proxies."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Literal

__all__ = ["UNIX_PEER", "TrustedProxy", "parse_trusted_proxy"]

UNIX_PEER: Final = "unix"
"""What the peer of a Unix socket is called, since it has no address."""

TrustedProxy = IPv4Network | IPv6Network | Literal["unix"]

_MAPPED_PREFIX: Final = 96  # of ::ffff:0:0/96, IPv4 as IPv6 (RFC 4291 2.5.5.2)


def parse_trusted_proxy(text: str) -> TrustedProxy:
    """One address, a block of them or the peers of a Unix socket; else ValueError.

    >>> parse_trusted_proxy("::ffff:10.0.0.0/104"), parse_trusted_proxy("unix")
    (IPv4Network('10.0.0.0/8'), 'unix')
    """
    if text == UNIX_PEER:
        return UNIX_PEER
    network = ip_network(text)
    # Peers of a dual-stack socket are looked up as the IPv4 addresses that they are.
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < _MAPPED_PREFIX:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_PREFIX))
