"""Socket activation: the port is not ours, so that nobody is ever refused there."""

import asyncio
import os
import shutil
import signal
import socket
import time
from threading import Thread

import pytest

from ..waiting import PATIENCE_SECONDS, free_port, until
from .conftest import COMMAND, hand_over, shell
from .crowd import connected, read_answer

pytestmark = pytest.mark.process

PER_SECOND = 300
MOST_AT_ONCE = 200  # or a machine that answers ten a second lets them wait for minutes


class SteadyClients:
    """So many fresh connections a second, each with one request, come what may."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.answers: list[int] = []
        self.failures: list[str] = []
        self._address = address
        self._stop = False
        self._under_way = 0
        self._thread = Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "SteadyClients":
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until the last has its answer."""
        self._stop = True
        self._thread.join()

    async def _run(self) -> None:
        began = time.monotonic()
        async with asyncio.TaskGroup() as clients:
            number = 0
            while not self._stop:
                while number < (time.monotonic() - began) * PER_SECOND:
                    if self._under_way < MOST_AT_ONCE:
                        clients.create_task(self._ask())
                    number += 1
                await asyncio.sleep(0.005)

    async def _ask(self) -> None:
        self._under_way += 1
        try:
            # In one step: a client that stands still between the two is idle after a
            # second, and a service that stops closes the connection.
            asking = socket.create_connection(self._address, PATIENCE_SECONDS)
            asking.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            asking.setblocking(False)
            async with (
                asyncio.timeout(PATIENCE_SECONDS),
                connected(sock=asking) as (answered, _),
            ):
                self.answers.append((await read_answer(answered))[0])
        except (OSError, EOFError, TimeoutError) as failure:
            self.failures.append(repr(failure))
        finally:
            self._under_way -= 1


def test_systemd_hands_over_the_socket(start):
    """systemd's own program listens; its first client is our first request."""
    program = shutil.which("systemd-socket-activate")
    if program is None:
        pytest.skip("systemd-socket-activate is not installed; .ci/run installs it")
    port = free_port()
    variables = ["--setenv=WORKERS=2", "--setenv=PYTHONPATH"]
    service = start(
        command=[
            *(program, f"--listen=127.0.0.1:{port}", *variables),
            *COMMAND,
        ]
    )
    service.wait_for_log("Listening on")
    service.url = f"http://127.0.0.1:{port}"
    assert service.get("/health")[0] == 200
    service.wait_for_log(f"Serving on 127.0.0.1:{port}")
    service.signal(signal.SIGINT)
    assert service.wait() == 0


def handed_over(start, held, **options):
    """The service on the socket ``held``, as systemd hands it over."""
    command = shell(hand_over(held.fileno()))
    return start(command=command, pass_fds=[held.fileno()], **options)


def test_a_port_of_no_effect_is_told(start):
    """A warning says that the socket decides, unless PORT agrees with it."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        _, port = held.getsockname()
        for told in (port, port - 1):
            service = handed_over(start, held, PORT=str(told), WORKERS="1")
            service.wait_until_serving()
            told_so = "HOST and PORT have no effect" in service.log
            assert told_so is (told != port)
            service.signal(signal.SIGINT)
            assert service.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_stop_and_start_refuse_no_connection(start, number):
    """300 new connections a second: those of the gap wait, all are answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as held:
        options = {"WORKERS": "2", "DRAIN_DELAY_SECONDS": "0.5", "LOG_LEVEL": "info"}
        service = handed_over(start, held, **options).wait_until_serving()
        with SteadyClients(held.getsockname()) as clients:
            until(lambda: len(clients.answers) > PER_SECOND / 2)
            service.signal(number)
            assert service.wait() == 0
            enough = len(clients.answers) + PER_SECOND / 2
            handed_over(start, held, **options).wait_until_serving()
            until(lambda: len(clients.answers) > enough)
    assert clients.failures == []
    assert set(clients.answers) == {200}


@pytest.mark.parametrize("kind", ["file", "client"])
def test_what_is_no_listening_socket_is_one_clear_line(start, tmp_path, kind):
    """Exit status 1 and one line refuse such a descriptor."""
    file = (
        os.open(tmp_path, os.O_RDONLY) if kind == "file" else socket.socket().detach()
    )
    try:
        service = start(command=shell(hand_over(file)), pass_fds=[file])
        assert service.wait() == 1
    finally:
        os.close(file)
    assert "LISTEN_FDS=1: not all are listening sockets" in service.log
