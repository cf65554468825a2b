"""The service behind a real HAProxy with our file, through restarts under systemd's
socket.
"""

import signal
import socket
import subprocess
import time

import pytest

from ..operations.balancing import haproxy_command, haproxy_file
from ..operations.programs import wait_for_port
from ..waiting import free_port
from .conftest import hand_over, shell
from .test_activation import SteadyClients

pytestmark = pytest.mark.process


def test_a_restart_behind_the_socket_costs_no_request(start, platform, tmp_path):
    """300 new clients of HAProxy a second see 200 and nothing else through two."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as held:
        options = {
            "command": shell(hand_over(held.fileno())),
            "pass_fds": [held.fileno()],
            "EXTERNAL_API_BASE": platform.url,
            "WORKERS": "2",
            "TRUSTED_PROXIES": "127.0.0.1/32",
            "RATE_LIMIT_PER_MINUTE": "100000",
            "RATE_LIMIT_PER_ADDRESS_PER_MINUTE": "100000",
        }
        service = start(**options).wait_until_serving()
        port = free_port()
        path = haproxy_file(tmp_path, port, held.getsockname()[1])
        with subprocess.Popen(
            haproxy_command(path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as haproxy:
            wait_for_port(port, haproxy)
            with SteadyClients(("127.0.0.1", port)) as clients:
                for _ in range(2):
                    time.sleep(1.0)
                    service.signal(signal.SIGTERM)
                    assert service.wait() == 0
                    service = start(**options).wait_until_serving()
                time.sleep(1.0)
            haproxy.terminate()
    assert clients.failures == []
    assert set(clients.answers) == {200}
