"""``python -m bench.profile [NAME] [SECONDS]``: a flame graph of a worker under load.

py-spy looks into the running process, which the kernel lets root do, and others where
``kernel.yama.ptrace_scope`` is 0. The picture is ``profile-NAME.svg`` in the working
directory; where the worker's own time goes is printed, without threads that wait for
work (in the picture they are what ends in ``_worker``).
"""

import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from . import processes
from .cold import pages
from .load import Request, ask, drive, page_request
from .processes import Platform

RATE = 250
SHOWN = 25
# Of the waits that py-spy leaves out by itself this is none.
IDLE = "_worker (concurrent/futures/thread.py"


def _kept(page: str) -> Callable[[Platform, str, int], object]:
    def load(source: Platform, url: str, seconds: int) -> object:
        request = page_request(page, source.newcomers(1)[0])
        return drive(url, request, 100, seconds)

    return load


def _cold(source: Platform, url: str, seconds: int) -> object:
    return ask(url, pages(source.newcomers(400 * seconds)), at_once=10)


LOADS: dict[str, Callable[[Platform, str, int], object]] = {
    "quiz": _kept("quiz"),
    "all-attendance": _kept("all-attendance"),
    "health": lambda _, url, seconds: drive(url, Request("/health"), 100, seconds),
    "cold": _cold,
}


def main(name: str = "quiz", seconds: str = "10") -> int:
    """Put a worker under load and draw it; the exit status."""
    if name not in LOADS or not seconds.isdecimal():
        print(f"usage: bench.profile [{'|'.join(LOADS)}] [SECONDS]", file=sys.stderr)
        return 2
    picture = f"profile-{name}.svg"
    with processes.platform() as source, processes.service(source) as ours:
        load = threading.Thread(
            target=LOADS[name], args=(source, ours.url, 2 * int(seconds) + 5)
        )
        load.daemon = True
        load.start()
        worker = ours.workers()[0]
        with tempfile.NamedTemporaryFile() as raw:
            status = _record(worker, "flamegraph", picture, seconds)
            status = status or _record(worker, "raw", raw.name, seconds)
            if status == 0:
                print(f"{picture}\n{own_time(Path(raw.name).read_text())}")
    return status


def _record(pid: int, form: str, path: str, seconds: str) -> int:
    command = [f"{sys.prefix}/bin/py-spy", "record", "--pid", str(pid)]
    command += ["--format", form, "--output", path]
    command += ["--duration", seconds, "--rate", str(RATE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    return done.returncode


def own_time(stacks: str) -> str:
    """The functions at the tip of most stacks, with their share of the samples in which
    a thread did not wait for work.

    ``stacks`` has a line for each: frames from the outside in, ``;`` between them,
    and a count.
    """
    tips: Counter[str] = Counter()
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        last = frames.rpartition(";")[2]
        if last.startswith(IDLE):
            continue
        # py-spy names lines too; what counts here is the function.
        tip = last.rpartition(":")[0]
        tips[f"{tip})" if "(" in tip else last] += int(count)
    whole = max(tips.total(), 1)
    return "\n".join(
        f"{100 * count / whole:5.1f} %  {tip}" for tip, count in tips.most_common(SHOWN)
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
