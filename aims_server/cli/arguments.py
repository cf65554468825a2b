"""Parses the command line: the commands and their options."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from .. import __version__
from .hints import hint

__all__ = ["parsed"]

_COMMANDS: Final = {
    "serve": "serve requests (the default)",
    "check": "check the settings and print them, secrets masked",
    "demo": "serve on a simulated platform, ready to try",
    "status": "show how a running service is",
    "files": "write the files for systemd, balancers and Prometheus to a directory",
}


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The command and its options. Other arguments end the program with status 2 and a
    line that says what may have been meant.
    """

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            super().error(hint(arguments, message, _COMMANDS))

    parser = Parser(
        prog="aims-server",
        description="Attendance and quizzes of a college's students, kept at hand.",
        epilog="Settings come from the environment and from .env in the working "
        "directory; the environment wins.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    parser.set_defaults(command="serve")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    by_name = {
        name: commands.add_parser(
            name, help=what, description=f"{what[0].upper()}{what[1:]}."
        )
        for name, what in _COMMANDS.items()
    }
    by_name["check"].add_argument(
        "--quiet", action="store_true", help="print faults and warnings only"
    )
    by_name["status"].add_argument(
        "--url", help="of the service; by default what HOST and PORT say"
    )
    how = by_name["status"].add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="the figures as JSON")
    how.add_argument("--watch", action="store_true", help="again every second")
    by_name["files"].add_argument("directory", type=Path, metavar="DIR")
    return parser.parse_args(arguments)
