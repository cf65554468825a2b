"""The simulated platform started beside the service, and what a newcomer is shown."""

import json
import subprocess
import sys
from typing import Any, Final, Self

__all__ = ["DemoPlatform", "DemoUnavailable"]

# Within the range that real clients report on a good day.
_DELAY_SECONDS: Final = "0.2"
_PATIENCE_SECONDS: Final = 5.0


class DemoUnavailable(Exception):
    """The simulated platform did not start; the message is one line."""


class DemoPlatform:
    """A process of its own on a free loopback port; ends with its ``with`` block."""

    def __init__(self) -> None:
        self.base_url = ""
        self._credentials: list[dict[str, str]] = []
        self._control = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it listens; raises :class:`DemoUnavailable`."""
        # It ends when the pipe does, so it cannot outlive this process.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aims_server.demo", "--delay", _DELAY_SECONDS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise DemoUnavailable("the simulated platform did not start")
        ready: dict[str, Any] = json.loads(line)
        self.base_url = ready["url"]
        self._control = ready["control"]
        self._credentials = ready["credentials"]
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def explain(self, address: str) -> None:
        """Print where everything is and calls that work as printed."""
        first, second = self._credentials
        service = f"http://{address.split(',')[0]}"
        print(
            f"""
aims_server serves on {service}
before a simulated platform that takes {_DELAY_SECONDS} s a call. Two of its students:

    {first["username"]}  password {first["password"]}
    {second["username"]}  password {second["password"]}

Try, in another terminal:

  TOKEN=$(curl -s {service}/api/login -d 'username={first["username"]}' \\
    -d 'password={first["password"]}' | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')
  curl -s {service}/api/attendance -H "Authorization: Bearer $TOKEN"
  curl -si --compressed {service}/api/all-attendance -H "Authorization: Bearer $TOKEN"
  curl -s {service}/api/quiz -H "Authorization: Bearer $TOKEN"
  curl -s {service}/health

Make the platform ill, and well again:

  curl -s -X PUT {self._control} -d '{{"faults": {{"*": {{"kind": "status"}}}}}}'
  curl -s -X PUT {self._control} -d '{{"clear": "*"}}'

Ctrl-C stops both.
""",
            flush=True,
        )
