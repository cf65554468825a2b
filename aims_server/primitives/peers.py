"""The names of sockets' peers, and the trusted proxies among them."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Literal

__all__ = ["UNIX_PEER", "TrustedProxy", "parse_trusted_proxy"]

UNIX_PEER: Final = "unix"
"""The name of a Unix socket's peer, which has no address."""

TrustedProxy = IPv4Network | IPv6Network | Literal["unix"]

_MAPPED_PREFIX: Final = 96  # of ::ffff:0:0/96, IPv4 as IPv6 (RFC 4291 2.5.5.2)


def parse_trusted_proxy(text: str) -> TrustedProxy:
    """Parse an address, a block of them, or "unix" for the peers of a Unix socket;
    raises ValueError.

    >>> parse_trusted_proxy("::ffff:10.0.0.0/104"), parse_trusted_proxy("unix")
    (IPv4Network('10.0.0.0/8'), 'unix')
    """
    if text == UNIX_PEER:
        return UNIX_PEER
    network = ip_network(text)
    # IPv4 peers of a dual-stack socket are compared as IPv4 addresses.
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < _MAPPED_PREFIX:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_PREFIX))
