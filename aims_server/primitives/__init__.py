"""Small values and locks that every layer may use: locks shared by processes, numbers
and time stamps as text, the address of a store.
"""

from .mutex import Mutexes
from .store_url import StoreAddress
from .text import utc_timestamp, whole_number

__all__ = ["Mutexes", "StoreAddress", "utc_timestamp", "whole_number"]
