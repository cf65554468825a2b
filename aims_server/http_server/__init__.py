"""The HTTP/1.1 server: accepts, frames, parses and drains clients' connections.

`Listener` holds a `Connection` for each client, an asyncio.Protocol that tries the fast
path first and leaves all other requests to Tornado.
"""

from .address_limit import AddressLimit
from .connection_counts import ConnectionCounts
from .framing import FramingGuard
from .listener import ARRIVAL_SECONDS, Listener
from .peer import Peer

__all__ = [
    "ARRIVAL_SECONDS",
    "AddressLimit",
    "ConnectionCounts",
    "FramingGuard",
    "Listener",
    "Peer",
]
