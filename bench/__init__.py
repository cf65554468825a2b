"""Benchmarks of speed, memory and steadiness, beside what one would use instead.

The map. First what is measured, then with what::

    kept       kept pages, beside a bare Tornado handler, FastAPI and aiohttp
    proxies    kept pages, beside caches that could stand in the service's place
    rate       kept pages, at a constant rate of arrivals
    posts      POST attendance, login and /health, beside the same three
    cold       a page not kept, beside two round trips and beside a bare client
    tls        a page not kept, of a platform behind TLS and some way off
    crowds     1000 students at once; one student's page 1000 times at once
    footprint  start, and memory
    scale      how cost grows with the size of a page, and how long one holds the loop
    capacity   memory, files and calls by number of students
    held       for how long each kind of request holds the loop
    slowdays   pages of a platform that is late, hangs, fails or is crowded
    sharing    one gathering for all workers and machines, also when one dies
    isolation  a million answers, and whom each of them names
    storms     signals, restarts, kills and full disks, and the requests they cost
    profile    a flame graph of a worker under one of these loads

    turns      one load on several servers, round after round
    load       wrk, and askers of pages
    processes  starts what is measured
    machines   services that share a store
    standin    a platform faster than any of it
    relay      a connection as slow as a long line
    peers      what it is measured beside
    probe      times the turns of a loop
    kernel     memory and CPU time of processes
    report     rows, goals, RESULTS.rst

Machines differ, so what counts is a ratio within one run: both sides take turns.
"""
