"""Benchmarks of speed, memory and steadiness, beside what one would use instead.

::

    kept        kept pages, beside a bare Tornado handler, FastAPI and aiohttp
    posts       POST attendance, login and /health, beside the same three
    cold        a page not kept, beside two round trips and beside a bare client
    crowds      1000 students at once; one student's page 1000 times at once
    footprint   start, memory, and how cost grows with the size of a page
    held        for how long anything ever holds the loop
    profile     a flame graph of a worker under one of these loads

    turns       one load on several servers, round after round
    processes   starts what is measured     standin     a platform faster than any of it
    load        wrk, and askers of pages    peers/      what it is measured beside
    report      rows, goals, RESULTS.rst    probe/      times the turns of a loop
    kernel      memory and CPU time of processes

Machines differ, so what counts is a ratio within one run: both sides take turns.
"""
