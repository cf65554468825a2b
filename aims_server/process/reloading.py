"""Reads settings again: what they are refused for, and what only a restart changes."""

import os
from collections.abc import Callable, Iterator

from ..config import Loaded, Settings, SettingsError, check_file_limit

__all__ = ["Reloading"]


class Reloading:
    """Settings read by ``load``, beside those that the service was ``started`` with."""

    def __init__(self, started: Settings, load: Callable[[], Loaded]) -> None:
        self._started = started
        self._load = load
        self._program: dict[str, tuple[int, ...] | None] = {}

    def remember_program(self) -> None:
        """Note the package's files as they are, once: a millisecond, for which no
        worker need wait.
        """
        if not self._program:
            self._program = {file: _identity(file) for file in _program_files()}

    def load(self) -> Loaded:
        """The settings as they are now; raises SettingsError, also when the system
        allows too few files for them, or what reads them was removed since the start.
        """
        try:
            loaded = self._load()
        except ImportError as error:
            raise SettingsError((f"they cannot be read: {error}",)) from None
        check_file_limit(loaded.settings.max_concurrent_requests)
        return loaded

    def warnings(self, loaded: Loaded) -> Iterator[str]:
        """What is odd about them, and what stays as it was."""
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
        """Whether another version was installed since `remember_program`, or pulled
        into the checkout that runs.
        """
        return any(_identity(file) != then for file, then in self._program.items())


def _made_before_the_fork(settings: Settings) -> tuple[object, ...]:
    return (
        settings.cache_shared_mb,
        settings.store_url,
        settings.store_secret,
        settings.store_ca_file,
    )


def _program_files() -> Iterator[str]:
    """The package's files: its code, and the pages that were read at the start."""
    for folder, folders, names in os.walk(os.path.dirname(os.path.dirname(__file__))):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (f"{folder}/{name}" for name in names)


def _identity(file: str) -> tuple[int, ...] | None:
    """What changes when the file is written anew."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns
