"""A fast, careful backend in front of a college's attendance platform.

The map of the package in call order; higher may import lower, never the reverse::

    cli           the commands: serve, demo, check
    server        the process before its first fork: sockets, limits, directories
    supervisor    the parent's watch over its workers, told to systemd
    family        the workers as their parent has them: forked, spoken with, reaped
    worker        one worker's life: serve, drain, exit
    app           the composition root and the route table
    listener, connection           accepting clients, and one client's connection
    handlers/     fastlane (kept pages, at once), and behind Tornado's parser: door
                  (before any handler), base, api (students), ops (operators), docs
    stream, message                a connection's bytes, and one request on it, as
                  Tornado's parser has them
    service       the use cases: what a student may ask for
    keeping       what is kept for a session, and for how long
    readthrough   freshness (HIT, MISS, STALE, PENDING) over cache and flights
    upstream      the typed client of the platform
    guard         breaker, retries and slots round one call
    transport, pool                curl: one call, one reply or one error; its handles

    figures, days                  pure figures over the models; one subject's days
    answers, openapi               ready bytes: a student's answer, our own description
    limits, cors, plain, requests, sessions
                  policies over plain values: how often, from where, what, who
    metrics       what is counted: labels (the words), series, ledger (the files of all
                  workers), exposition (the text form), overview (the JSON form)
    logs          what is told: lines (the form), scrubbing (no secrets)
    cache, singleflight, slots, breaker, retry, ratelimit, pacing, cells, mutex,
    loads, outbox, deadline        mechanisms: they know no HTTP and nothing of us
    roster, lifecycle              who serves and who leaves; whether work is taken
    models, wire                   what the platform tells; how it writes it
    errors                         every failure that a client can be told
    settings      one table of variables, made of kinds, read from the dotfile
    demo/         a simulated platform for `aims-server demo` and the tests
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
