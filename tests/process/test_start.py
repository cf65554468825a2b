"""What a start leaves for later."""

import importlib.util
import pathlib
import py_compile
import subprocess
import sys
from importlib import machinery

import pytest

from aims_server import __main__ as main

_LATER = ("prometheus_client", "html.parser", "fractions", "argparse")


@pytest.mark.parametrize("module", _LATER)
def test_a_start_does_not_wait_for(module):
    """Each takes milliseconds to import, and the first answer needs none of them."""
    program = (
        "import sys; import aims_server.__main__, aims_server.cli, aims_server.process;"
        f"sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


_UNUSED = (
    "html",
    "http.client",
    "http.cookies",
    "json",
    "logging.handlers",
    "pycurl.async_multi",
    "textwrap",
    "tokenize",
    "tornado.template",
)
_STARTED = (
    "import sys, threading, types, aims_server.__main__ as main;"
    "sys.meta_path.insert(0, main._Later());"
    "import aims_server.cli, aims_server.process, logging;"
    "from aims_server import logs;"
    "logs.configure_logging('info', 'json');"
    "logging.getLogger('aims_server').warning('a line');"
)


def _run_after_start(program: str) -> None:
    """Run this in a process that has started, up to the line that it logs."""
    subprocess.run([sys.executable, "-c", _STARTED + program], check=True)


@pytest.mark.parametrize("module", _UNUSED)
def test_a_start_does_not_run_what_only_libraries_import(module):
    """Libraries import each and call nothing of it, nor does the log; whoever does
    finds it whole, under its own name.
    """
    _run_after_start(
        f"unrun = sys.modules[{module!r}];"
        "assert type(unrun) is not types.ModuleType;"
        "assert not hasattr(unrun, 'nothing of this name');"
        f"whole = sys.modules[{module!r}];"
        "assert type(whole) is types.ModuleType;"
        "names = [name for name in dir(whole) if name[0] != '_'];"
        "assert names and all(getattr(unrun, n) is getattr(whole, n) for n in names)"
    )


_PREPARED = """
import asyncio
from aims_server.app import Machine, build
from aims_server.config import Settings
from aims_server.metrics import Metrics
from aims_server.process.background import prepare

async def main():
    settings = Settings(external_api_base="http://127.0.0.1:1")
    memory, log = Machine(settings), logs.AccessLog()
    worker = build(settings, memory, metrics=Metrics(), access_log=log)
    await prepare(worker)
    await worker.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("module", ["html", "textwrap"])
def test_a_worker_runs_at_once_what_it_may_need_when_no_file_can_be_opened(module):
    """A name with an entity needs one, and a traceback the other."""
    _run_after_start(
        f"unrun = type(sys.modules[{module!r}]); {_PREPARED}"
        f"assert type(sys.modules[{module!r}]) is types.ModuleType is not unrun"
    )


def test_threads_that_use_such_a_module_at_once_find_it_whole():
    """The second one waits for the first one's import, and sees no half of it."""
    _run_after_start(
        "json = sys.modules['json']; said = [];"
        "gate = threading.Barrier(8);"
        "say = lambda: (gate.wait(), said.append(json.loads('[1]')));"
        "threads = [threading.Thread(target=say) for _ in range(8)];"
        "sys.setswitchinterval(1e-6);"
        "[t.start() for t in threads]; [t.join() for t in threads];"
        "assert said == [[1]] * 8, said"
    )


def test_a_part_of_such_a_module_can_be_imported_first():
    """Its package is run before it, as ever, and has it; it is run once."""
    _run_after_start(
        "import json; assert type(json) is not types.ModuleType;"
        "import json.decoder; whole = sys.modules['json'];"
        "assert whole.decoder.JSONDecoder().decode('[1]') == [1];"
        "assert json.decoder is whole.decoder;"
        "assert json.decoder.JSONDecodeError is json.JSONDecodeError"
    )


def test_what_libraries_ask_at_once_is_answered_without_running_the_module():
    """uuid, which msgspec imports, asks platform for the system's name alone; Python
    3.13's asks for nothing.
    """
    _run_after_start(
        "import platform; named = platform.system();"
        "assert type(sys.modules['platform']) is not types.ModuleType;"
        "assert platform.machine();"
        "assert sys.modules['platform'].system() == named"
    )


def test_a_module_is_looked_for_as_source_before_as_an_extension(tmp_path):
    """Nearly all modules are sources, and extensions have three endings."""
    (tmp_path / "either.py").write_text("")
    (tmp_path / "either.abi3.so").write_text("no library")
    program = (
        "import sys, aims_server.__main__ as main; main._look_for_sources_first();"
        f"sys.path.insert(0, {str(tmp_path)!r}); import either"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def _loaded(path: pathlib.Path) -> object:
    """`value` of a module that is imported as in a start."""
    finder = machinery.FileFinder(str(path.parent), (main._Loader, [".py"]))
    spec = finder.find_spec(path.stem)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]
    return module.value


@pytest.mark.parametrize("mode", py_compile.PycInvalidationMode)
def test_byte_code_is_used_only_for_the_source_that_it_was_made_of(tmp_path, mode):
    """Of both kinds: that which names the source's time, and that with its hash."""
    path = tmp_path / "some_module.py"
    path.write_text("value = 1")
    py_compile.compile(str(path), invalidation_mode=mode)
    assert _loaded(path) == 1
    path.write_text("value = 1 + 1")
    unchecked = mode is py_compile.PycInvalidationMode.UNCHECKED_HASH
    assert _loaded(path) == (1 if unchecked else 2)


def test_a_moved_module_names_its_file_in_a_traceback(tmp_path):
    """Byte code has the path at which it was made."""
    made, moved = tmp_path / "made", tmp_path / "moved"
    made.mkdir()
    (made / "some_module.py").write_text("value = (lambda: 0).__code__.co_filename")
    py_compile.compile(str(made / "some_module.py"))
    made.rename(moved)
    assert _loaded(moved / "some_module.py") == str(moved / "some_module.py")
