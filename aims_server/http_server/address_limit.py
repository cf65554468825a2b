"""Bounds the number of connections of one client address."""

from collections import Counter
from collections.abc import Callable

from ..web import address_key
from .peer import Peer

__all__ = ["AddressLimit"]


class AddressLimit:
    """Counts connections by address, an IPv6 address as its /64.

    >>> limit = AddressLimit(2, exempt=lambda peer: peer.same_machine)
    >>> client = Peer("203.0.113.7", same_machine=False)
    >>> [limit.try_take(client) for _ in range(3)]
    [True, True, False]
    """

    def __init__(self, most: int, *, exempt: Callable[[Peer], bool]) -> None:
        """``exempt`` peers, such as proxies, are not counted."""
        self._most = most
        self._exempt = exempt
        self._held: Counter[str] = Counter()

    def try_take(self, peer: Peer) -> bool:
        """Count one more connection if the peer's address may have one."""
        if self._exempt(peer):
            return True
        key = address_key(peer.remote_ip)
        if self._held[key] >= self._most:
            return False
        self._held[key] += 1
        return True

    def release(self, peer: Peer) -> None:
        """Count one connection less that ``try_take`` has allowed."""
        if self._exempt(peer):
            return
        key = address_key(peer.remote_ip)
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
