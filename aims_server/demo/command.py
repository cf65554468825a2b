"""The simulated platform as a process of its own, beside the service in a demo."""

import argparse
import asyncio
import os
import signal
import stat
import sys
from datetime import UTC, date, datetime, timedelta

import msgspec

from .college import College
from .platform import SimulatedPlatform
from .samples import sample_students
from .scenarios import SCENARIOS

__all__ = ["run_platform"]

INDIA = timedelta(hours=5, minutes=30)
PARENT_CHECK_SECONDS = 0.5


def run_platform() -> int:
    """Serve until SIGTERM, SIGINT, the end of a piped stdin or the parent's death.

    Prints one line of JSON when it listens: `url`, `control`, `pid`, and three
    `credentials` of `name`, `standing`, `username` and `password`. Returns the exit
    status: 0, or 1 with one line on stderr when it cannot listen. With a pipe for
    stdin SIGINT is left to the parent, which shares the terminal and may have work to
    drain.
    """
    # Known before the line is printed: its reader may be gone a moment later.
    parent = os.getppid()
    options = _parser().parse_args()
    try:
        asyncio.run(_serve(options, parent))
    except (OSError, ValueError) as exc:
        print(f"simulated platform: {exc}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m aims_server.demo",
        description="A simulated attendance platform with invented students.",
    )
    today = (datetime.now(UTC) + INDIA).date()
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0 (default) takes a free one")
    add("--delay", type=float, default=0.0, help="seconds before each answer")
    add("--scenario", choices=SCENARIOS, help="instead of delay and jitter")
    add("--jitter", type=float, default=0.0, help="up to so many seconds more")
    add("--students", type=int, default=3000)
    add("--subjects", type=int, default=15)
    add("--weeks", type=int, default=12, help="of the term, up to today")
    add("--records", type=int, help="per subject, instead of a timetable's")
    add("--today", type=date.fromisoformat, default=today)
    add("--seed", type=int, default=1)
    return parser


async def _serve(options: argparse.Namespace, parent: int) -> None:
    college = College(
        options.students,
        options.subjects,
        options.weeks,
        options.records,
        options.today,
        options.seed,
    )
    platform = SimulatedPlatform(college, seed=options.seed)
    platform.faults.set(delay=options.delay, jitter=options.jitter)
    if options.scenario:
        platform.play(options.scenario)
    stop = _stop_event()
    url = await platform.start(options.port, options.host)
    ready = {
        "url": url,
        "control": platform.control_url,
        "pid": os.getpid(),
        "credentials": sample_students(college),
    }
    print(msgspec.json.encode(ready).decode(), flush=True)
    orphaned = asyncio.create_task(_parent_gone(parent, stop))
    await stop.wait()
    orphaned.cancel()
    await platform.stop()


def _stop_event() -> asyncio.Event:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    # Started by `aims-server demo`, it inherits that signals are held back.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if not _stdin_is_pipe():
        loop.add_signal_handler(signal.SIGINT, stop.set)
        return stop

    def read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_reader(0, read)
    return stop


def _stdin_is_pipe() -> bool:
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def _parent_gone(parent: int, stop: asyncio.Event) -> None:
    # A pipe may stay open in other children of a parent that was killed.
    while os.getppid() == parent:  # noqa: ASYNC110 - the kernel sets no event
        await asyncio.sleep(PARENT_CHECK_SECONDS)
    stop.set()
