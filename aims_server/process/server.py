"""Starts the service: raises limits, binds sockets, hands over to the supervisor."""

import errno
import gc
import logging
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Final

from tornado.netutil import bind_sockets

from ..config import Loaded, Settings, check_file_limit
from .reports import Reports
from .supervisor import Supervisor
from .systemd import Notifier, inherited_sockets

__all__ = ["ServerError", "serve"]

_log = logging.getLogger(__name__)

# The kernel lowers it to net.core.somaxconn.
_BACKLOG: Final = 4096


class ServerError(Exception):
    """The service cannot start; the message is one line for the operator."""


def serve(
    settings: Settings,
    load: Callable[[], Loaded],
    environ: Mapping[str, str],
    on_serving: Callable[[str], object],
) -> int:
    """Serve until told to stop; return the exit status.

    ``load`` reads the settings again for SIGHUP; ``on_serving`` gets the address once
    requests are answered there. Each listening socket is bound here, or taken over from
    systemd, and inherited by every worker. With SO_REUSEPORT a leaving worker would
    reset the connections queued on its own socket.
    Raises :class:`ServerError`, and SettingsError if the system allows too few files.
    """
    for warning in check_file_limit(settings.max_concurrent_requests):
        _log.warning("%s", warning)
    sockets = _inherited(environ)
    if sockets and not _are_of(settings, sockets):
        _log.warning("HOST and PORT have no effect: systemd says where to listen")
    sockets = sockets or _bound(settings)
    try:
        reports = Reports(Notifier(environ))
        supervisor = Supervisor(settings, load, sockets, reports, on_serving)
    except OSError as error:
        raise ServerError(
            f"no memory for what the workers share: {error.strerror}"
            " (lower CACHE_SHARED_MB, or raise MemoryMax= or `ulimit -v`)"
        ) from None
    # These objects are never freed. If the collector touched them it would copy memory
    # pages that the workers share. So would look-ups of attributes: a new entry in the
    # interpreter's cache releases a name that an import had left there (1 MB).
    gc.freeze()
    sys._clear_type_cache()
    gc.enable()
    return supervisor.run()


def _inherited(environ: Mapping[str, str]) -> list[socket.socket]:
    try:
        return inherited_sockets(environ)
    except OSError as error:
        raise ServerError(
            f"LISTEN_FDS={environ['LISTEN_FDS']}: not all are listening sockets"
            f" ({error.strerror})"
        ) from None


def _are_of(settings: Settings, sockets: list[socket.socket]) -> bool:
    """Whether these sockets are those that HOST and PORT ask for, if they are set."""
    default = Settings()
    if (settings.hosts, settings.port) == (default.hosts, default.port):
        return True
    names = [listening.getsockname()[:2] for listening in sockets]
    return all((host, settings.port) in names for host in settings.hosts)


def _bound(settings: Settings) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    port = settings.port
    for host in settings.hosts:
        try:
            sockets += bind_sockets(port, host, backlog=_BACKLOG)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "not an address"
            remedy = _remedy_of(error, others=bool(sockets))
            raise ServerError(
                f"cannot listen on HOST={host}, PORT={port}: {reason}{remedy}"
            ) from None
        # PORT=0: the other addresses take the free port of the first one.
        port = sockets[0].getsockname()[1]
    return sockets


def _remedy_of(error: Exception, *, others: bool) -> str:
    """A hint for an address that cannot be bound; ``others``: some others are."""
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            twice = "unless HOST names it twice, " if others else ""
            return f" ({twice}`ss -ltnp` tells who listens there)"
        case errno.EACCES:
            return " (below 1024 that takes CAP_NET_BIND_SERVICE)"
    return ""
