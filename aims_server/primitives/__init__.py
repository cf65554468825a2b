"""Small values and mechanisms that every layer may use: locks shared by processes, work
in small steps, remembered values, numbers and time stamps as text, the address of a
store, the workers' numbers.
"""

from .memo import Memo
from .mutex import Mutexes
from .serial_executor import SerialExecutor, Steps, finish
from .store_url import StoreAddress
from .text import utc_timestamp, whole_number
from .worker_numbers import WORKER_NUMBERS

__all__ = [
    "WORKER_NUMBERS",
    "Memo",
    "Mutexes",
    "SerialExecutor",
    "Steps",
    "StoreAddress",
    "finish",
    "utc_timestamp",
    "whole_number",
]
