"""Starts the simulated platform beside the service, and prints how to try it."""

import json
import subprocess
import sys
from typing import Any, Final, Self

__all__ = ["DemoPlatform", "DemoUnavailable"]

_PATIENCE_SECONDS: Final = 5.0


class DemoUnavailable(Exception):
    """The simulated platform did not start; the message is one line."""


class DemoPlatform:
    """A process of its own on a free loopback port; ends with its ``with`` block."""

    def __init__(self) -> None:
        self.base_url = ""
        self.control_url = ""
        self.students: list[dict[str, str]] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it listens; raises :class:`DemoUnavailable`."""
        # It ends when the pipe does, so it cannot outlive this process.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aims_server.demo", "--scenario", "calm"],
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
        self.control_url = ready["control"]
        self.students = ready["credentials"]
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
        """Print the one address to open, who may log in, and calls that work as
        printed.
        """
        service = f"http://{address.split(',')[0]}"
        student = self.students[0]
        credentials = "\n".join(
            f"    {one['username']}  {one['password']}  {one['standing']}"
            for one in self.students
        )
        print(
            f"""
Open {service}/

It is the student's page over a simulated platform. Click a student in its corner
to log in; other buttons there make the platform slow, failing or calm. User names and
passwords:

{credentials}

The API behind it, from another terminal:

  TOKEN=$(curl -s {service}/api/login -d 'username={student["username"]}' \\
    --data-urlencode 'password={student["password"]}' \\
    | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')
  curl -s {service}/api/attendance -H "Authorization: Bearer $TOKEN"
  curl -si --compressed {service}/api/all-attendance -H "Authorization: Bearer $TOKEN"
  curl -s {service}/api/quiz -H "Authorization: Bearer $TOKEN"
  curl -s {service}/health

The description of the API is at {service}/docs. Ctrl-C stops both.
""",
            flush=True,
        )
