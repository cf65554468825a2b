"""The commands, one function each; each returns an exit status."""

import contextlib
import errno
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Final, TextIO

from ..config import (
    Demo,
    Loaded,
    SettingsError,
    check_file_limit,
    load_settings,
)
from ..primitives import StoreAddress

__all__ = ["main"]

EXIT_CONFIG: Final = 78  # sysexits.h EX_CONFIG
_UNWRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, TextIOWrapper):
        # A path may have bytes that are no text, or characters that the locale lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _written(_chosen(arguments)())
    except OSError as error:  # an output that is not buffered, as in a container
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        return _unwritable(error)
    except SettingsError as error:
        for fault in error.faults:
            _say(fault)
        return EXIT_CONFIG
    except KeyboardInterrupt:
        return 130


def _written(status: int) -> int:
    """Flush the output, whose reader may be gone (``| head``); return the status."""
    try:
        sys.stdout.flush()
    except OSError as error:
        failed = _unwritable(error)
        return status if isinstance(error, BrokenPipeError) else failed
    return status


def _unwritable(error: OSError) -> int:
    _discard(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return 1
    return _fail(f"cannot write the output: {error.strerror}")


def _chosen(arguments: Sequence[str]) -> Callable[[], int]:
    """The command that the arguments name, ready to run."""
    if not arguments:
        return _serve
    # Imported late: without arguments a service starts sooner without argparse.
    from .arguments import parsed

    options = parsed(arguments)
    match options.command:
        case "check":
            return partial(_check, quiet=options.quiet)
        case "demo":
            return _demo
        case "status":
            return partial(
                _status, options.url, as_json=options.json, again=options.watch
            )
        case "files":
            return partial(_files, options.directory)
    return _serve


def _read(environ: Mapping[str, str]) -> Loaded:
    try:
        directory = Path.cwd()
    except OSError as error:
        fault = f"the working directory cannot be read: {error.strerror}"
        raise SettingsError((fault,)) from None
    return load_settings(directory, environ)


def _load() -> Loaded:
    return _read(os.environ)


def _serve() -> int:
    return _run(_load)


def _check(*, quiet: bool) -> int:
    settings, source, warnings = _load()
    warnings += check_file_limit(settings.max_concurrent_requests)
    if not quiet:
        print(f"# read from {source or 'the environment alone, there is no .env here'}")
        for name, value in settings.effective():
            print(f"{name}={value}")
    for warning in warnings:
        _say(f"warning: {warning}")
    if settings.store_url is not None:
        file = settings.store_ca_file
        ca_file = None if file is None else file.path
        _check_store(settings.store_url, ca_file, quiet=quiet)
    return 0


def _check_store(address: StoreAddress, ca_file: str | None, *, quiet: bool) -> None:
    """Try the store once; its failure is no fault of the settings."""
    import asyncio

    from ..store import StoreError, inspect

    try:
        # asyncio.run would wait for a look-up of the store's name that still runs.
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            shown, doubts = loop.run_until_complete(inspect(address, ca_file=ca_file))
    except StoreError as error:
        shown, doubts = "", [f"it cannot be reached ({error})"]
    if shown and not quiet:
        print(f"# the store: {shown}")
    for doubt in doubts:
        _say(f"warning: STORE_URL: {doubt}")


def _status(url: str | None, *, as_json: bool, again: bool) -> int:
    from . import figures, status

    try:
        url, token = _service_at(url)
        if as_json:
            print(json.dumps(figures.read_figures(url, token)))
        elif again:
            status.watch(url, token)
        else:
            reading = next(figures.readings(url, token))
            print(status.as_text(status.describe(*reading)), end="")
    except figures.NoAnswer as error:
        return _fail(error)
    except KeyError as missing:  # installed, and not restarted yet, or the reverse
        return _fail(f"{url} is another version: its figures have no {missing}")
    except ImportError:
        return _fail("--watch needs Rich: pip install 'aims_server[status]'")
    return 0


def _service_at(url: str | None) -> tuple[str, str | None]:
    """The address of the running service, by default that of the settings, and its
    METRICS_TOKEN. While the settings are wrong only the typed address can be asked.
    """
    from . import figures

    token = os.environ.get("METRICS_TOKEN", "").strip() or None
    try:
        settings = _load().settings
    except SettingsError:
        if url is None:
            raise
    else:
        url = url or figures.service_url(settings)
        token = settings.metrics_token
    return figures.checked_url(url), token


def _files(directory: Path) -> int:
    from .files import FilesError, write_files

    try:
        for path in write_files(directory):
            print(path)
    except FilesError as error:
        return _fail(error)
    return 0


def _fail(why: object) -> int:
    _say(why)
    return 1


def _say(what: object) -> None:
    """Print a line on stderr; one that cannot be written is lost."""
    try:
        print(f"aims-server: {what}", file=sys.stderr)
    except OSError:
        _discard(sys.stderr)


def _discard(output: TextIO) -> None:
    # Otherwise the interpreter would try again at its end, and change the exit status.
    os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def _demo() -> int:
    from msgspec.structs import replace

    from ..demo.launch import DemoPlatform, DemoUnavailable

    try:
        with DemoPlatform() as platform:
            way = {"EXTERNAL_API_BASE": platform.base_url, "EXTERNAL_API_PROXY": ""}
            environ = {**os.environ, **way}

            def load() -> Loaded:
                loaded = _read(environ)
                demo = Demo(tuple(platform.students), platform.control_url)
                settings = replace(loaded.settings, web_page=True, demo=demo)
                return loaded._replace(settings=settings)

            def explain(address: str) -> None:
                with contextlib.suppress(OSError):  # nobody reads stdout any more
                    platform.explain(address)

            return _run(load, explain)
    except DemoUnavailable as error:
        return _fail(error)


def _run(
    load: Callable[[], Loaded],
    on_serving: Callable[[str], object] = lambda _: None,
) -> int:
    # Only now: `check` and `--version` need neither curl nor Tornado.
    from ..logs import configure_logging
    from ..process import ServerError, serve

    settings, source, warnings = load()

    def reload() -> Loaded:
        loaded = load()
        if source is not None and loaded.source is None:
            # The defaults would be valid, but name another platform.
            raise SettingsError((f"{source}: was read at the start, and is gone",))
        return loaded

    configure_logging(
        settings.log_level,
        settings.log_format,
        journal_stream=os.environ.get("JOURNAL_STREAM", ""),
    )
    for warning in warnings:
        logging.getLogger(__name__).warning("%s", warning)
    try:
        return serve(settings, reload, os.environ, on_serving)
    except ServerError as error:
        return _fail(error)
