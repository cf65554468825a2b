"""Parses one ``.env`` file strictly; does not judge the names in it."""

from io import StringIO
from pathlib import Path

from msgspec import Struct

__all__ = ["File", "read"]


class File(Struct, frozen=True):
    """The assignments of a file, the line numbers of each name, and a sentence for
    every fault.
    """

    values: dict[str, str]
    lines: dict[str, list[int]]
    faults: tuple[str, ...] = ()


def read(path: Path) -> File | None:
    """Read a file; None if there is none. Another obstacle to reading it is a fault.

    Values are not expanded: with ``${NAME}`` one name would have two values as soon as
    the environment sets it too.
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
    # Imported only if there is a file: a start without one takes some 10 ms less.
    from dotenv.parser import parse_stream

    values: dict[str, str] = {}
    lines: dict[str, list[int]] = {}
    faults = []
    for binding in parse_stream(StringIO(text)):
        # The parser's binding begins with the blank lines before it.
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
    """Why a path must not even be opened."""
    if path.is_fifo() or path.is_char_device():
        # A start would wait for it for ever and ignore SIGTERM.
        return "Not a regular file"
    if path.is_symlink() and not path.exists():
        return "it leads to a file that is not there"  # but somebody meant one
    return None
