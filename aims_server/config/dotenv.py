"""Parses one ``.env`` file strictly; it does not judge the names in it."""

from io import StringIO
from pathlib import Path

from msgspec import Struct

__all__ = ["File", "read"]


class File(Struct, frozen=True):
    """The assignments of a file, the numbers of each one's lines, and a sentence for
    every fault in it.
    """

    values: dict[str, str]
    lines: dict[str, list[int]]
    faults: tuple[str, ...] = ()


def read(path: Path) -> File | None:
    """What a file says; None if there is none. What else hinders reading it is a fault.

    A value is taken as it stands: expanding ``${NAME}`` would give one name two values
    as soon as the environment sets it too.
    """
    try:
        if hindrance := _hindrance(path):
            return File({}, {}, (f"{path}: cannot be read: {hindrance}",))
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except OSError as error:
        return File({}, {}, (f"{path}: cannot be read: {error.strerror}",))
    except UnicodeDecodeError:
        return File({}, {}, (f"{path}: must be text in UTF-8",))
    # Imported only where there is a file: a start without one is some 10 ms sooner.
    from dotenv.parser import parse_stream

    values: dict[str, str] = {}
    lines: dict[str, list[int]] = {}
    faults = []
    for binding in parse_stream(StringIO(text)):
        # What the parser has of a binding begins with the blank lines before it.
        blank = len(binding.original.string) - len(binding.original.string.lstrip())
        line = binding.original.line + binding.original.string.count("\n", 0, blank)
        if binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
            lines.setdefault(binding.key, []).append(line)
        elif binding.error or binding.key is not None:
            # Never the line itself: it may hold a secret.
            faults.append(f"{path}: line {line}: must be NAME=value")
    return File(values, lines, tuple(faults))


def _hindrance(path: Path) -> str | None:
    """Why a path should not even be opened."""
    if path.is_fifo() or path.is_char_device():
        # A start would wait for it without end, deaf to SIGTERM.
        return "Not a regular file"
    if path.is_symlink() and not path.exists():
        return "it leads to a file that is not there"  # but somebody meant one
    return None
