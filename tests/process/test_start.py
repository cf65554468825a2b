"""What a start leaves for later."""

import subprocess
import sys

import pytest

_LATER = ("prometheus_client", "html.parser", "fractions", "argparse")


@pytest.mark.parametrize("module", _LATER)
def test_a_start_does_not_wait_for(module):
    """Each takes milliseconds to import, and the first answer needs none of them."""
    program = (
        "import sys; import aims_server.__main__, aims_server.cli, aims_server.process;"
        f"sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


_UNUSED = ("csv", "logging.handlers", "multiprocessing", "email.parser", "curses")


@pytest.mark.parametrize("module", _UNUSED)
def test_a_start_does_not_run_what_only_libraries_import(module):
    """Tornado imports each and calls nothing of it, nor does the log; whoever does
    finds it whole.
    """
    program = (
        "import sys, types, aims_server.__main__ as main;"
        "sys.meta_path.insert(0, main._Later());"
        "import aims_server.cli, aims_server.process, logging;"
        "from aims_server import logs;"
        "logs.configure_logging('info', 'json');"
        "logging.getLogger('aims_server').warning('a line');"
        f"module = sys.modules[{module!r}];"
        "assert type(module) is not types.ModuleType;"
        "assert module.__file__ and len(vars(module)) > 10"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
