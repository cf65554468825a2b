"""Small values and mechanisms that every layer may use.

The map::

    mutex            locks shared by processes
    epochs           periods of an owner, which a refusal ends in all processes
    worker_numbers   the size of tables with a place for each worker
    serial_executor  heavy work in small steps
    tasks            tasks that run until they are cancelled; waiting for one
    memo             remembered values of a function
    text             numbers and time stamps as text; texts as they look
    circuit_state    closed, half-open, open
    store_url        the address of a store
    peers            the names of sockets' peers, and which are trusted proxies
"""

from .circuit_state import CircuitState
from .epochs import NO_EPOCH, Epochs, Owner
from .memo import Memo
from .mutex import Mutex, mutexes
from .peers import UNIX_PEER, TrustedProxy, parse_trusted_proxy
from .serial_executor import SerialExecutor, Steps, finish
from .store_url import StoreAddress
from .tasks import done_within, watched_task
from .text import utc_timestamp, visible, whole_number
from .worker_numbers import WORKER_NUMBERS

__all__ = [
    "NO_EPOCH",
    "UNIX_PEER",
    "WORKER_NUMBERS",
    "CircuitState",
    "Epochs",
    "Memo",
    "Mutex",
    "Owner",
    "SerialExecutor",
    "Steps",
    "StoreAddress",
    "TrustedProxy",
    "done_within",
    "finish",
    "mutexes",
    "parse_trusted_proxy",
    "utc_timestamp",
    "visible",
    "watched_task",
    "whole_number",
]
