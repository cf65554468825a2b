"""Faults before the service serves."""

import socket

from ..conftest import COMMAND, shell
from .bench import Bench, Provoke


def at_start(
    env_file: str | None = None,
    command: tuple[str, ...] = COMMAND,
    **variables: str,
) -> Provoke:
    """A start whose first line tells it."""

    def provoke(bench: Bench) -> tuple[str, str]:
        if env_file is not None:
            script = f"printf '%s' '{env_file}' >.env"
            return bench.told(bench.start(shell(script), **variables))
        return bench.told(bench.start(command, **variables))

    return provoke


def taken_port(bench: Bench) -> tuple[str, str]:
    """Somebody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = bench.start(PORT=str(taken.getsockname()[1]))
        service.wait()
        return bench.told(service)


FAULTS: dict[str, Provoke] = {
    "a wrong setting": at_start(PORT="many"),
    "a misspelt name in .env": at_start("LOG_LEVLE=debug\n"),
    "a misspelt name in the environment": at_start(LOG_LEVLE="debug"),
    "a malformed line in .env": at_start("PORT 3002\n"),
    "a name twice in .env": at_start("WORKERS=1\n\nWORKERS=2\n"),
    ".env cannot be read": at_start(command=shell("mkdir .env")),
    "an option that does not exist": at_start(command=(*COMMAND, "--port", "3002")),
    "the port is taken": taken_port,
    "an address of another machine": at_start(HOST="203.0.113.7", METRICS_TOKEN="x"),
    "systemd hands over something that is no socket": at_start(
        command=shell("exec 3</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1")
    ),
    "few open files are allowed": at_start(command=shell("ulimit -n 300")),
    "too few open files are allowed": at_start(command=shell("ulimit -n 40")),
    "memory is too tightly limited": at_start(command=shell("ulimit -v 200000")),
    "the platform over plain http": at_start(
        EXTERNAL_API_BASE="http://platform.example/api"
    ),
    "/metrics open to everybody": at_start(HOST="0.0.0.0"),
}
