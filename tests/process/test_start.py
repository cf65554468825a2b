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
