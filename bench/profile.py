"""``python -m bench.profile [quiz|all-attendance|cold]``: a flame graph of a worker.

py-spy looks into the running process, which the kernel lets root and a process's own
parent do (ptrace); the picture is ``profile-<name>.svg`` in the working directory.
"""

import subprocess
import sys
import threading

from .load import ask, drive
from .processes import Platform, family, platform, service

SECONDS = 10
LOADS = ("quiz", "all-attendance", "cold")


def main(name: str) -> int:
    """Put a worker under load and draw it; the exit status."""
    if name not in LOADS:
        print(f"no such load: {name}; there are {', '.join(LOADS)}", file=sys.stderr)
        return 2
    picture = f"profile-{name}.svg"
    with platform() as source, service(source.url, 1) as (url, pid):
        load = threading.Thread(target=_load, args=(name, source, url), daemon=True)
        load.start()
        worker = family(pid)[1]
        drawn = subprocess.run(
            [
                *(
                    f"{sys.prefix}/bin/py-spy",
                    "record",
                    "--pid",
                    str(worker),
                    "--output",
                    picture,
                ),
                *("--duration", str(SECONDS), "--rate", "200"),
            ],
            check=False,
        )
    if drawn.returncode == 0:
        print(picture)
    return drawn.returncode


def _load(name: str, source: Platform, url: str) -> None:
    if name == "cold":
        pages = [("/api/all-attendance", source.token(n)) for n in range(3000)]
        ask(url, pages, at_once=8)
        return
    headers = {"Authorization": f"Bearer {source.token(1)}"}
    drive(f"{url}/api/{name}", 100, SECONDS + 2, headers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "quiz"))
