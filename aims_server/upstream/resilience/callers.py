"""Callers, as breakers, pauses, slots and budgets tell them apart."""

from collections.abc import Hashable
from typing import NamedTuple

__all__ = ["CallerKey"]


class CallerKey(NamedTuple):
    """A verified student, whatever the number of tokens, or a client's address.

    Logins, and tokens that the platform has not answered yet, count as their address:
    who they claim to be is not known.

    >>> CallerKey.student(5900001).verified
    True
    >>> CallerKey.address("192.0.2.7") == CallerKey.student(5900001)
    False
    """

    verified: bool
    key: Hashable

    @classmethod
    def student(cls, student: Hashable) -> "CallerKey":
        """The student that the platform's own answer has named."""
        return cls(True, student)

    @classmethod
    def address(cls, address: Hashable) -> "CallerKey":
        """All clients of this address."""
        return cls(False, address)
