"""A fast, careful backend in front of a college's attendance platform.

The map of the package; higher may import lower, never the reverse::

    cli           the commands: serve, demo, check
    server        the parent process: sockets, fork, supervision
    worker        one worker's life: serve, drain, exit
    app           the composition root and the route table
    handlers/     Tornado adapters: base, api (students), ops (operators)
    service       the use cases: what a student may ask for
    readthrough   freshness (HIT, MISS, STALE, PENDING) over cache and flights
    upstream      the typed client of the platform
    guard         breaker, retries and slots round one call
    transport     curl: one call, one reply or one error

    figures       pure figures over the models
    answers       ready bytes: body, gzip, ETag, headers
    cors, requests                 policies over plain values
    metrics, logs                  what operators see
    cache, singleflight, slots, breaker, retry, ratelimit, deadline
                  mechanisms: they know no HTTP and nothing of us
    models, sessions, errors, settings
                  the words everybody speaks
    kinds, dotfile                 what settings are read with
    demo/         a simulated platform for `aims-server demo` and the tests
"""

__version__ = "0.1.0"
