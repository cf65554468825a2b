"""``aims-server files``: writes the files for systemd, balancers, Prometheus and
Grafana from the installed package.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["FilesError", "write_files"]

_FOLDERS: Final = ("conf", "systemd")


class FilesError(Exception):
    """Not all files were written; the message is one line."""


def write_files(directory: Path) -> Iterator[Path]:
    """Write the files below ``directory`` and yield their paths. A different file that
    is there already stays. Raises :class:`FilesError`.
    """
    source = _source()
    kept = []
    for folder in _FOLDERS:
        for file in sorted((source / folder).iterdir()):
            target = directory / folder / file.name
            if _write(target, file.read_bytes()):
                yield target
            else:
                kept.append(target)
    if kept:
        names = ", ".join(map(str, kept))
        raise FilesError(f"not written, because they are there and differ: {names}")


def _write(target: Path, content: bytes) -> bool:
    """Write a file unless it is there; return whether it has this content then."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return target.read_bytes() == content
        _write_new(target, content)
    except OSError as error:
        raise FilesError(f"{target}: {error.strerror}") from None
    return True


def _write_new(target: Path, content: bytes) -> None:
    """Write all or nothing: a part would later look like a changed file."""
    file = target.open("xb")
    try:
        with file:
            file.write(content)
    except OSError:
        target.unlink()
        raise


def _source() -> Path:
    """The folder with the files: of an installed package (setup.py) or a checkout."""
    package = Path(__file__).parents[1]
    for source in (package / "files", package.parent):
        if all((source / folder).is_dir() for folder in _FOLDERS):
            return source
    raise FilesError("this installation has no such files")
