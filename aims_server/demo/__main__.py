"""``python -m aims_server.demo``: run the simulated platform."""

import sys

from .command import run_platform

if __name__ == "__main__":
    sys.exit(run_platform())
