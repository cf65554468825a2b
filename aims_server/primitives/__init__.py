"""Small values and mechanisms that every layer may use: mutexes shared by processes,
what lasts until a token is refused in any of them, an executor of work in small steps,
tasks that go on until they are cancelled, remembered values, numbers and time stamps as
text, texts as they are seen, states of circuits, the address of a store, the names of
sockets' peers, the workers' numbers.
"""

from .circuit_state import CircuitState
from .epochs import NO_EPOCH, Epochs, Owner
from .memo import Memo
from .mutex import Mutexes
from .peers import UNIX_PEER, TrustedProxy, parse_trusted_proxy
from .serial_executor import SerialExecutor, Steps, finish
from .store_url import StoreAddress
from .tasks import watched_task
from .text import utc_timestamp, visible, whole_number
from .worker_numbers import WORKER_NUMBERS

__all__ = [
    "NO_EPOCH",
    "UNIX_PEER",
    "WORKER_NUMBERS",
    "CircuitState",
    "Epochs",
    "Memo",
    "Mutexes",
    "Owner",
    "SerialExecutor",
    "Steps",
    "StoreAddress",
    "TrustedProxy",
    "finish",
    "parse_trusted_proxy",
    "utc_timestamp",
    "visible",
    "watched_task",
    "whole_number",
]
