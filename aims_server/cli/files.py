"""``aims-server files``: the files for systemd, the balancers, Prometheus and Grafana,
written out of the installed package.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["FilesError", "write_files"]

_FOLDERS: Final = ("conf", "systemd")


class FilesError(Exception):
    """Nothing, or not all, was written; the message is one line."""


def write_files(directory: Path) -> Iterator[Path]:
    """Write them below ``directory`` and give their paths; one that is there already
    and is another stays as it is. Raises :class:`FilesError`.
    """
    source = _source()
    kept = []
    for folder in _FOLDERS:
        for file in sorted((source / folder).iterdir()):
            target = directory / folder / file.name
            content = file.read_bytes()
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    _write_new(target, content)
                elif target.read_bytes() != content:
                    kept.append(target)
                    continue
            except OSError as error:
                raise FilesError(f"{target}: {error.strerror}") from None
            yield target
    if kept:
        names = ", ".join(map(str, kept))
        raise FilesError(f"not written, because they are there and differ: {names}")


def _write_new(target: Path, content: bytes) -> None:
    """All of it or nothing: a part would later be taken for a file that was changed."""
    file = target.open("xb")
    try:
        with file:
            file.write(content)
    except OSError:
        target.unlink()
        raise


def _source() -> Path:
    """An installed package has a copy within (setup.py), a checkout has them beside."""
    package = Path(__file__).parents[1]
    for source in (package / "files", package.parent):
        if all((source / folder).is_dir() for folder in _FOLDERS):
            return source
    raise FilesError("this installation has no such files")
