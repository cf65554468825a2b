"""Reads the settings again for a reload, and warns of changes that need a restart."""

import os
import time
from collections.abc import Callable, Iterator

from .. import imported_at
from ..config import Loaded, Settings, SettingsError, check_file_limit

__all__ = ["Reloading"]


class Reloading:
    """Reads settings with ``load``; compares them with those of the start."""

    def __init__(self, started: Settings, load: Callable[[], Loaded]) -> None:
        self._started = started
        self._load = load
        self._program: dict[str, tuple[int, ...]] = {}

    def load(self) -> Loaded:
        """The present settings. Raises SettingsError, also if the system allows too few
        files for them, or the code that reads them was removed since the start.
        """
        try:
            loaded = self._load()
        except ImportError as error:
            raise SettingsError((f"they cannot be read: {error}",)) from None
        check_file_limit(loaded.settings.max_concurrent_requests)
        return loaded

    def warnings(self, loaded: Loaded) -> Iterator[str]:
        """Warnings about the new settings, and about changes that take no effect."""
        settings = loaded.settings
        yield from loaded.warnings
        yield from check_file_limit(settings.max_concurrent_requests)
        started = self._started
        if (settings.hosts, settings.port) != (started.hosts, started.port):
            yield "HOST and PORT stay as they are until a restart"
        if _made_before_the_fork(settings) != _made_before_the_fork(started):
            yield "CACHE_SHARED_MB and the store stay as they are until a restart"
        if self.program_has_changed:
            yield "Reloaded, but the program has changed on disk: restart to use it"

    @property
    def program_has_changed(self) -> bool:
        """Whether another version was installed since the start, or pulled into the
        running checkout.

        The first look takes a millisecond, so a start does not make it.
        """
        if not self._program:
            self._program = _imported_program()
        return any(_identity(file) != then for file, then in self._program.items())


def _made_before_the_fork(settings: Settings) -> tuple[object, ...]:
    return (
        settings.cache_shared_mb,
        settings.store_url,
        settings.store_secret,
        settings.store_ca_file,
    )


def _imported_program() -> dict[str, tuple[int, ...]]:
    """The package's files (code, and pages read at the start) with their identities; an
    empty one for a file written since the import.
    """
    program: dict[str, tuple[int, ...]] = {}
    now = time.time()
    for folder, folders, names in os.walk(os.path.dirname(os.path.dirname(__file__))):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for file in (f"{folder}/{name}" for name in names):
            identity, written_at = _look(file)
            # Later than now: the clock was set.
            since = imported_at < written_at <= now
            program[file] = () if since else identity
    return program


def _identity(file: str) -> tuple[int, ...]:
    return _look(file)[0]


def _look(file: str) -> tuple[tuple[int, ...], float]:
    """A file's identity, which changes when it is written, and when that was (Unix
    time, which an installer cannot choose); empty and 0 if there is no such file.
    """
    try:
        status = os.stat(file)
    except OSError:
        return (), 0.0
    return (status.st_dev, status.st_ino, status.st_mtime_ns), status.st_ctime
