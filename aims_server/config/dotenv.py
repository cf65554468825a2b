"""Parses one ``.env`` file strictly; it does not judge the names in it."""

from io import StringIO
from pathlib import Path

__all__ = ["read"]


def read(path: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """The assignments of a file, and one line for every fault in it.

    A value is taken as it stands: expanding ``${NAME}`` would give one name two values
    as soon as the environment sets it too. Raises FileNotFoundError; any other
    error is a fault.
    """
    if hindrance := _hindrance(path):
        return {}, (f"{path}: cannot be read: {hindrance}",)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except OSError as error:
        return {}, (f"{path}: cannot be read: {error.strerror}",)
    except UnicodeDecodeError:
        return {}, (f"{path}: must be text in UTF-8",)
    # Imported only where there is a file: a start without one is some 10 ms sooner.
    from dotenv.parser import parse_stream

    values = {}
    faults = []
    for line in parse_stream(StringIO(text)):
        if line.key is not None and line.value is not None:
            values[line.key] = line.value
        elif line.error or line.key is not None:
            # Never the line itself: it may hold a secret.
            faults.append(f"{path}: line {line.original.line}: must be NAME=value")
    return values, tuple(faults)


def _hindrance(path: Path) -> str | None:
    """Why a path should not even be opened."""
    if path.is_fifo() or path.is_char_device():
        # A start would wait for it without end, deaf to SIGTERM.
        return "Not a regular file"
    if path.is_symlink() and not path.exists():
        return "it leads to a file that is not there"  # but somebody meant one
    return None
