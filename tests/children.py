"""Processes that a test starts or forks off, and how they ended."""

import os
import signal
import traceback
from pathlib import Path


def environment():
    """What a program under test is given of ours: nothing that would set it."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "LANG", "PYTHONPATH", "TMPDIR")
        or name.startswith("COVERAGE")
    }


def fork(work):
    """Run `work` in a child, which leaves with 0, or with 1 if it raised."""
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(300)  # a child that hangs is a failed test, not a hung one
    try:
        work()
    except BaseException:  # noqa: BLE001 - nothing may run on into pytest's copy
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def exit_status(pid):
    """Wait for a child; negative is the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def state(pid):
    """The letter of a process's state: T is stopped, Z a zombie, X gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "X"
    return stat.rpartition(")")[2].split()[0]


def alive(pid):
    """Whether the process lives; a zombie does not."""
    return state(pid) not in ("Z", "X")


class Interrupted:
    """Memory of which each reader lets other processes run before it goes on."""

    def __init__(self, memory):
        self._memory = memory

    def __getitem__(self, at):
        value = self._memory[at]
        os.sched_yield()
        return value

    def __setitem__(self, at, value):
        self._memory[at] = value


class Deadly:
    """Memory that a process writes to once, and is killed."""

    def __init__(self, memory):
        self._memory = memory
        self.find = getattr(memory, "find", None)

    def __getitem__(self, at):
        return self._memory[at]

    def __setitem__(self, at, value):
        self._memory[at] = value
        os.kill(os.getpid(), signal.SIGKILL)
