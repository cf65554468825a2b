"""``python -m bench [NAME ...]``: run benchmarks, print the table, write RESULTS.rst.

Without names all are run, and only then the file is written.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import cold, footprint, kept
from .report import Row, machine, table, write_results

BENCHMARKS: dict[str, Callable[[], Iterator[Row]]] = {
    "kept": kept.kept,
    "framework": kept.posts_and_probes,
    "trips": cold.page_beside_two_trips,
    "bare-client": cold.page_beside_a_bare_client,
    "crowd": cold.crowd,
    "one-student": cold.one_student,
    "start": footprint.start,
    "memory": footprint.memory,
    "growth": footprint.growth,
}
RESULTS = Path(__file__).with_name("RESULTS.rst")


def main(names: list[str]) -> int:
    """Run what is named, or all; the exit status."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}", file=sys.stderr)
        for name, benchmark in BENCHMARKS.items():
            print(f"  {name:12} {(benchmark.__doc__ or '').splitlines()[0]}")
        return 2
    rows: list[Row] = []
    began = time.monotonic()
    for name in names or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        for row in BENCHMARKS[name]():
            print("  " + " | ".join(row.cells()), file=sys.stderr, flush=True)
            rows.append(row)
    print(f"\n{machine()}\n\n{table(rows)}\n\n{time.monotonic() - began:.0f} s")
    if not names:
        write_results(RESULTS, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
