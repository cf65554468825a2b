"""Reads settings again: what they are refused for, and what only a restart changes."""

import os
from collections.abc import Callable, Iterator

from ..config import Loaded, Settings, check_file_limit

__all__ = ["Reloading"]


class Reloading:
    """Settings read by ``load``, beside those that the service was ``started`` with."""

    def __init__(self, started: Settings, load: Callable[[], Loaded]) -> None:
        self._started = started
        self._load = load
        self._program = _program()

    def load(self) -> Loaded:
        """The settings as they are now; raises SettingsError, also when the system
        allows too few files for them.
        """
        loaded = self._load()
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
        """Whether another version was installed since the start."""
        return _program() != self._program


def _made_before_the_fork(settings: Settings) -> tuple[object, ...]:
    return (
        settings.cache_shared_mb,
        settings.store_url,
        settings.store_secret,
        settings.store_ca_file,
    )


def _program() -> tuple[int, ...] | None:
    """What changes with an installation: the identity of one of the package's files."""
    try:
        status = os.stat(__file__)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns
