"""Reads from the kernel: free ports, processes with their children, their memory
and time.
"""

import re
import socket
from pathlib import Path


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def pss_megabytes(pid: int) -> float:
    """Proportional set size of a whole family: shared pages counted once."""
    total = 0
    for one in family(pid):
        rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        match = re.search(r"^Pss:\s+(\d+) kB", rollup, re.M)
        total += int(match[1]) if match else 0
    return total / 1024


def cpu_seconds(pids: list[int]) -> float:
    """What these processes have had of a CPU, in all their threads so far."""
    tasks = (task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
