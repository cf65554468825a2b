"""The entry point, ``aims-server`` or ``python -m aims_server``: prepares the
interpreter, then runs a command.
"""

import gc
import marshal
import os
import signal
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from importlib import import_module, machinery
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import MAGIC_NUMBER
from io import FileIO
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

__all__ = ["main"]

_SERVING: Final[tuple[list[str], ...]] = ([], ["serve"], ["demo"])
# Modules that Tornado, asyncio, msgspec and others import and the service never uses.
# There are three exceptions: a name with an entity needs `html`, a traceback needs
# `textwrap` (workers run both once they serve), and `tokenize` to quote lines.
_UNUSED: Final = frozenset(
    {
        *("asyncio.sslproto", "asyncio.staggered", "asyncio.trsock", "curses"),
        *("email.base64mime", "email.errors", "email.quoprimime", "fnmatch", "html"),
        *("http.client", "http.cookies", "json", "locale", "logging.handlers"),
        *("mimetypes", "msgspec.inspect", "msgspec.toml", "msgspec.yaml", "ntpath"),
        *("platform", "pycurl.async_multi", "stringprep", "textwrap", "token"),
        *("tokenize", "tornado.locale", "tornado.process", "tornado.template"),
    }
)
# The head of a module's byte code: flags are 0 if it is the code of the source that was
# changed at this time and has this size (PEP 552).
_HEAD: Final = struct.Struct("<4sIII")
_WORD: Final = 0xFFFF_FFFF
# Attributes that are read at once are given without running the module. `object` stands
# for a class that only annotations name, or an import that nobody uses.
_KNOWN: Final[dict[str, dict[str, object]]] = {
    "http.client": {"responses": {status: status.phrase for status in HTTPStatus}},
    "http.cookies": {"Morsel": object},
    "platform": {"system": lambda: os.uname().sysname},  # uuid reads it
    "pycurl.async_multi": {"AsyncCurlMulti": object},
    "tornado.locale": {"Locale": object},
    "tornado.template": {"BaseLoader": object},
}


def main() -> int:
    """Run a command and return its exit status."""
    # Imports make no garbage; collecting it meanwhile would take a tenth of the start.
    # serve() enables the collector again.
    gc.disable()
    _open_standard_streams()
    if sys.argv[1:2] in _SERVING:
        _hold_signals()
        _look_for_sources_first()
        sys.meta_path.insert(0, _Later())
    _import_msgspec()
    from .cli import main as run

    status = run()
    if threading.active_count() > 1:
        # A thread still looks up a host name. The interpreter would wait for it, and so
        # would a `systemctl reload`, which checks the settings.
        sys.stderr.flush()
        os._exit(status)
    return status


class _Later:
    """Import hook: a module in `_UNUSED` runs its code when it is first used, not when
    it is imported. That saves a tenth of a start.
    """

    def __init__(self) -> None:
        self._names = set(_UNUSED)
        self._lock = threading.Lock()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's specification, as the import system asks for it; also that of a
        part which its package has imported: that was run when its path was looked for.
        """
        imported = name in sys.modules and target is None
        if not imported and name not in self._names:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None:
            spec.loader = cast("Loader", self)
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """What is imported already; anything else is left to the import system."""
        return sys.modules.get(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing: ``module`` becomes a placeholder, and later imports get it too.
        It has no ``__path__``, so importing a submodule runs the code first.
        """
        if module.__name__ in self._names:
            vars(module).pop("__path__", None)
            vars(module).update(_run=self.run, **_KNOWN.get(module.__name__, {}))
            module.__class__ = _Unrun

    def run(self, unrun: ModuleType) -> ModuleType:
        """Import the module itself; safe in any thread. The import lock is held while
        its code runs (3.11's `importlib.util.LazyLoader` does not hold it).
        """
        name = unrun.__name__
        with self._lock:
            self._names.discard(name)
            if sys.modules.get(name) is unrun:
                del sys.modules[name]
        module = import_module(name)
        vars(unrun).update(vars(module))  # found there from now on, `_KNOWN` ones too
        return module


class _Unrun(ModuleType):
    """A placeholder: looking up a name in it runs the module's code."""

    _run: Callable[[ModuleType], ModuleType]
    __spec__: ModuleSpec

    def __getattr__(self, name: str) -> object:
        if name == "__path__" and self.__spec__.submodule_search_locations is None:
            raise AttributeError(name)  # each `from module import name` looks for it
        return getattr(self._run(self), name)


class _Loader(machinery.SourceFileLoader):
    """Loads modules as its base does, in half of the steps if the byte code is of the
    usual kind. That saves 2.7 % of a start's instructions, and 800 system calls.
    """

    def get_code(self, fullname: str) -> CodeType | None:
        """The module's code."""
        try:
            with FileIO(sys.modules[fullname].__cached__) as file:
                packed = file.readall()
            source = os.stat(self.path)
        except (LookupError, AttributeError, TypeError, OSError):
            return super().get_code(fullname)
        time, size = int(source.st_mtime) & _WORD, source.st_size & _WORD
        if packed[: _HEAD.size] == _HEAD.pack(MAGIC_NUMBER, 0, time, size):
            code: CodeType = marshal.loads(memoryview(packed)[_HEAD.size :])
            if code.co_filename == self.path:  # else it was moved
                return code
        return super().get_code(fullname)


def _look_for_sources_first() -> None:
    """Let imports look for source files, as nearly all modules are, before extension
    modules. That saves 1.5 % of a start's instructions.
    """
    finder = machinery.FileFinder.path_hook(
        (_Loader, machinery.SOURCE_SUFFIXES),
        (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
        (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    )
    sys.path_hooks.insert(0, finder)
    sys.path_importer_cache.clear()


def _import_msgspec() -> None:
    """Import msgspec while typing_extensions seems not installed: it then takes the
    same names from typing, which saves 2 ms of a start.
    """
    name = "typing_extensions"
    if name not in sys.modules:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails
        import_module("msgspec")
        del sys.modules[name]


def _open_standard_streams() -> None:
    """Open closed standard streams as /dev/null.

    Otherwise the next file opened, perhaps a client's connection, would get the number
    that libraries take for stderr.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    sys.stdin = sys.stdin or os.fdopen(0, "r", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _hold_signals() -> None:
    """Block signals until the supervisor can act on them.

    A blocked signal waits in the kernel. Unblocked, process 1 would lose it.
    """
    for number in (
        *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM),
        *(signal.SIGTTIN, signal.SIGTTOU),  # more or fewer workers to gunicorn
    ):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(
        signal.SIG_BLOCK,
        {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP},
    )


if __name__ == "__main__":
    sys.exit(main())
