"""HTTP adapters: read the request's plain values, await one use case, write.

`FastPath` answers pages and logins from the connection's bytes. Tornado routes all
other requests to the handlers of `api`, `ops`, `docs` and others, over `BaseHandler`.
"""

from .base import BaseHandler
from .context import HandlerContext, Lifecycle
from .fast_path import FastPath
from .rejection import reject

__all__ = [
    "BaseHandler",
    "FastPath",
    "HandlerContext",
    "Lifecycle",
    "reject",
]
