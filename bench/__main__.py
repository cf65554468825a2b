"""``python -m bench [--quick] [NAME ...]``: run benchmarks, all without names, print
what they found and put it into bench/RESULTS.rst, each in place of its last figures.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .capacity import capacity
from .cold import calls, misses, page_cpu, trips
from .crowds import crowd, fifty, one_student
from .footprint import memory, start
from .held import held
from .isolation import isolation
from .kept import access_log, kept
from .posts import posts
from .proxies import proxies
from .rate import rate
from .report import Row, Section, write_results, written
from .scale import scale
from .sharing import sharing
from .slowdays import SCENARIOS, scenario, slowdays
from .storms import storms
from .tls import tls
from .turns import Pace

BENCHMARKS: dict[str, Callable[[Pace], Iterator[Row]]] = {
    "kept": kept,
    "log": access_log,
    "proxies": proxies,
    "rate": rate,
    "posts": posts,
    "trips": trips,
    "tls": tls,
    "calls": calls,
    "page-cpu": page_cpu,
    "misses": misses,
    "fifty": fifty,
    "crowd": crowd,
    "one-student": one_student,
    "start": start,
    "memory": memory,
    "scale": scale,
    "capacity": capacity,
    "held": held,
    "slowdays": slowdays,
    "sharing": sharing,
    "storms": storms,
}
# Named alone only: each is a part of one above.
PARTS: dict[str, Callable[[Pace], Iterator[Row]]] = {
    "sharing:isolation": isolation,
    **{f"slowdays:{name}": scenario(name) for name in SCENARIOS},
}
RESULTS = Path(__file__).with_name("RESULTS.rst")


def main() -> int:
    """Run what is named, or all; the exit status."""
    options = _parser().parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS | PARTS]
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}\n{_list()}", file=sys.stderr)
        return 2
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    pace = Pace(rounds=1) if options.quick else Pace()
    began = time.monotonic()
    sections = []
    for name in options.names or BENCHMARKS:
        sections.append(_run(name, pace))
        if not options.quick:
            write_results(RESULTS, sections[-1], tuple(BENCHMARKS | PARTS))
    print(f"\n{written(sections)}\n\nTook {time.monotonic() - began:.0f} s.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="How the service stands beside what one would use instead.",
        epilog=_list(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", help="all if none is given")
    parser.add_argument("--quick", action="store_true", help="one round; no file")
    return parser


def _list() -> str:
    return "\n".join(
        f"  {name:12} {' '.join((benchmark.__doc__ or '').split())}"
        for name, benchmark in (BENCHMARKS | PARTS).items()
    )


def _run(name: str, pace: Pace) -> Section:
    """One benchmark, each row told as soon as it is had."""
    benchmark = (BENCHMARKS | PARTS)[name]
    began = time.monotonic()
    print(f"{name} ...", file=sys.stderr, flush=True)
    rows = []
    for row in benchmark(pace):
        print("  " + " | ".join(row.cells()), file=sys.stderr, flush=True)
        rows.append(row)
    print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return Section(name, " ".join((benchmark.__doc__ or "").split()), rows)


if __name__ == "__main__":
    sys.exit(main())
