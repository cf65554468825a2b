"""Tornado adapters: read the request's plain values, await one use case, write.

`FastPath` answers pages and logins from the raw request; `api`, `ops` and `docs` are
what Tornado routes to, over `BaseHandler`.
"""

from .base import BaseHandler
from .context import HandlerContext
from .fast_path import FastPath
from .lifecycle import Lifecycle
from .rejection import Rejections

__all__ = [
    "BaseHandler",
    "FastPath",
    "HandlerContext",
    "Lifecycle",
    "Rejections",
]
