"""Where faults are provoked: a platform, and services that end with it."""

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from aims_server.demo.college import College

from ...waiting import PATIENCE_SECONDS
from ..conftest import COMMAND, Platform, Service

COLLEGE = College(students=2000)


class Bench:
    """Starts services, and ends them all."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self._college_tokens = (
            COLLEGE.token(COLLEGE.student(n)) for n in range(COLLEGE.students)
        )
        self.platform = Platform("--students", str(COLLEGE.students))
        stack.callback(self.platform.close)
        self._directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))

    def token(self) -> str:
        """That of a student who was not met before."""
        return next(self._college_tokens)

    def start(self, command: tuple[str, ...] = COMMAND, /, **variables: str) -> Service:
        """A service that may never serve."""
        directory = Path(tempfile.mkdtemp(dir=self._directory))
        given = {"EXTERNAL_API_BASE": self.platform.url, "WORKERS": "1", **variables}
        service = Service(directory, given, command)
        self.stack.callback(service.close)
        return service

    def serve(self, command: tuple[str, ...] = COMMAND, /, **variables: str) -> Service:
        """A service that serves."""
        return self.start(command, **variables).wait_until_serving()

    def told(self, service: Service, *, after: int = 0) -> tuple[str, str]:
        """Level and text of the first line behind that character which is no access
        line: waits for it.
        """
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            for line in service.log[after:].splitlines():
                if line.startswith("usage: "):
                    continue
                if not line.startswith("{"):
                    return "stderr", line
                with suppress(ValueError):
                    entry = json.loads(line)
                    if entry["logger"] != "aims_server.access":
                        return entry["level"], entry["message"]
            time.sleep(0.02)
        raise AssertionError(f"nothing is told:\n{service.log}")

    def told_in(self, service: Service, words: str) -> tuple[str, str]:
        """The same of the line that has these words, a regular expression."""
        match = service.wait_for_log(words)
        return self.told(service, after=service.log.rindex("{", 0, match.start()))


Provoke = Callable[[Bench], tuple[str, str]]


def ask_in_vain(service: Service, token: str) -> None:
    """For a page that need not come."""
    with suppress(OSError):
        service.get("/api/quiz", token)
