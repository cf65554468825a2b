"""Suggests what unknown arguments may have meant."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from ..config import nearest_variable

__all__ = ["hint"]

# Names that other programs use.
_COMMANDS: Final = {
    **dict.fromkeys(("start", "run", "up", "server"), "serve"),
    **dict.fromkeys(("config", "configtest", "test", "validate"), "check"),
    "help": "--help",
    "version": "--version",
}
_OPTIONS: Final = {"-v": "--version", "-V": "--version", "-q": "--quiet"}
# The command of each other option.
_OPTIONS_OF: Final = {
    "--quiet": "check",
    **dict.fromkeys(("--url", "--json", "--watch"), "status"),
}
_BY_SIGNAL: Final = ("stop", "restart", "reload")
# "log-level" and LOG_LEVEL are alike, "daemon" and DRAIN_DELAY_SECONDS are not.
_ALIKE: Final = 0.6
_NEARLY: Final = 0.8  # "--quit" and --quiet; "--workers" is no --watch


def hint(arguments: Sequence[str], message: str, commands: Iterable[str]) -> str:
    """A sentence in place of argparse's ``message``, if that is not helpful.

    >>> hint(["start"], "argument COMMAND: invalid choice: 'start'", ["serve"])
    "there is no command 'start'; did you mean serve?"
    """
    if message.startswith("unrecognized arguments: "):
        unknown = message.split()[2]
        if not unknown.startswith("-"):
            return f"{unknown!r} is one argument too many"
        return _of_option(unknown.partition("=")[0])
    if "invalid choice" not in message:
        return message
    first = arguments[0]
    if first.startswith("-"):
        return _of_option(first.partition("=")[0])
    return _of_command(first, commands)


def _of_option(option: str) -> str:
    if option in _OPTIONS_OF:
        command = _OPTIONS_OF[option]
        return f"{option} is of {command}: aims-server {command} {option}"
    close = get_close_matches(option, _OPTIONS_OF, 1, _NEARLY)
    meant = _OPTIONS.get(option) or next(iter(close), None)
    if meant:
        return f"there is no option {option}; did you mean {meant}?"
    variable = nearest_variable(option.lstrip("-"), cutoff=_ALIKE)
    what = f"so set {variable}" if variable else "as `aims-server check` lists them"
    return (
        f"there is no option {option}; settings are variables of the environment or"
        f" of .env, {what}"
    )


def _of_command(first: str, commands: Iterable[str]) -> str:
    if "=" in first:
        return f"settings stand before the command: {first} aims-server"
    none = f"there is no command {first!r}"
    if first in _BY_SIGNAL:
        return f"{none}: that is for signals of the running service (systemctl {first})"
    meant = _COMMANDS.get(first) or next(
        iter(get_close_matches(first, commands, 1)), None
    )
    if meant:
        return f"{none}; did you mean {meant}?"
    return f"{none}; there are {', '.join(commands)}"
