"""What is typed, and what was meant."""

import pytest

from aims_server import __version__
from aims_server.cli import main


@pytest.fixture(name="ended")
def _ended(capfd):
    """The status with which such arguments end the program, and what it prints."""

    def ended(*arguments):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        return end.value.code, "".join(capfd.readouterr())

    return ended


def test_version(ended):
    """--version names the release."""
    assert ended("--version") == (0, f"aims-server {__version__}\n")


@pytest.mark.parametrize(
    "arguments", [[], ["serve"], ["check"], ["demo"], ["status"], ["files"]]
)
def test_help_everywhere(ended, arguments):
    """Every command explains itself."""
    status, told = ended(*arguments, "--help")
    assert status == 0
    assert "usage: aims-server" in told


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--port", "3002"], "there is no option --port; settings are variables"),
        (["--port=3002"], "so set PORT"),
        (["--workers", "4"], "so set WORKERS"),
        (["-log-level", "debug"], "so set LOG_LEVEL"),
        (["check", "--port", "3002"], "there is no option --port; settings are"),
        (["serve", "-p", "3002"], "there is no option -p; settings are variables"),
        (["--daemon"], "of .env, as `aims-server check` lists them"),
        (["-v"], "there is no option -v; did you mean --version?"),
        (["check", "-q"], "there is no option -q; did you mean --quiet?"),
        (["--quiet", "check"], "--quiet is of check: aims-server check --quiet"),
        (["serve", "--json"], "--json is of status: aims-server status --json"),
        (["check", "--quit"], "there is no option --quit; did you mean --quiet?"),
        (["status", "3002"], "'3002' is one argument too many"),
        (["sevre"], "there is no command 'sevre'; did you mean serve?"),
        (["start"], "there is no command 'start'; did you mean serve?"),
        (["run"], "there is no command 'run'; did you mean serve?"),
        (["configtest"], "there is no command 'configtest'; did you mean check?"),
        (["help"], "there is no command 'help'; did you mean --help?"),
        (["restart"], "signals of the running service (systemctl restart)"),
        (["reload"], "signals of the running service (systemctl reload)"),
        (["PORT=3002"], "settings stand before the command: PORT=3002 aims-server"),
        (["frobnicate"], "no command 'frobnicate'; there are serve, check, demo"),
    ],
)
def test_what_is_mistyped_gets_a_hint(ended, arguments, hint):
    """Options that other servers have, and commands that are nearly right."""
    status, told = ended(*arguments)
    assert status == 2
    assert hint in told
