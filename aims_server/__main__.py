"""The way in: ``aims-server``, or ``python -m aims_server``."""

import gc
import sys

__all__ = ["main"]


def main() -> int:
    """Run a command; the exit status."""
    # What is imported stays, so to look for garbage meanwhile is lost time, a tenth of
    # the start; serve() lets the collector work again.
    gc.disable()
    from .cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
