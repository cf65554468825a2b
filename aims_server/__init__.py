"""A fast, careful backend in front of a college's attendance platform.

The map, in call order. A package or module imports only from those further
down; what a package offers to the others stands in its `__init__`::

    cli           the commands: serve, check, demo, status, files
    process       parent and workers: sockets, forks, signals, systemd
    demo          a simulated platform for `aims-server demo` and the tests
    app           the composition root: one worker's objects, the route table
    http_server   clients' connections: accept, frame, parse, drain
    handlers      requests: a fast path for pages and logins, Tornado for the rest
    service       the use cases: what a student may ask for
    domain        the pages, computed from what the platform answers; pure
    store         a Valkey or Redis server that several machines share
    upstream      calls to the platform: decoding, breaker, retries, bulkhead, curl
    cache         kept answers: memory, single flight, freshness
    metrics       counters, gauges and histograms over all workers
    web           HTTP's plain values: requests, representations, sessions, quotas
    ratelimit     token buckets shared by the workers
    logs          log lines
    config        settings
    errors        every failure that a client can be told
    pages         the table of addresses, from which all lists are made
    deadline      the time by which a request must be answered
    primitives    small values and mechanisms for every layer: mutexes, epochs, …
"""

import time
from typing import Final

__all__ = ["__version__", "imported_at"]

__version__ = "0.1.0"
imported_at: Final = time.time()
"""When the import of the package's files began, in Unix time."""
