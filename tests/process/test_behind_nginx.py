"""The service behind a real nginx with our file, through rolls and a stop."""

import re
import signal
import subprocess

import pytest

from aims_server.http_server import ARRIVAL_SECONDS

from ..operations.balancing import nginx_command, nginx_file
from ..operations.programs import CONF, wait_for_port
from ..waiting import free_port
from .crowd import Crowd

pytestmark = pytest.mark.process

NGINX = (CONF / "nginx.conf").read_text()


def test_nginx_is_the_first_to_close():
    """It drops idle connections to us before we do, so it never asks on a dead one."""
    (block,) = re.findall(r"upstream aims_server \{(.*?)\n    \}", NGINX, re.DOTALL)
    (keepalive_timeout,) = re.findall(
        r"^ +keepalive_timeout (\d+)s;", block, re.MULTILINE
    )
    assert int(keepalive_timeout) < ARRIVAL_SECONDS


@pytest.fixture(name="front")
def _front(busy, tmp_path):
    """A service, and the address of the nginx before it."""
    service = busy(TRUSTED_PROXIES="127.0.0.1/32")
    port = free_port()
    path = nginx_file(tmp_path, port, int(service.url.rpartition(":")[2]))
    with subprocess.Popen(
        nginx_command(path), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as nginx:
        wait_for_port(port, nginx)
        yield service, f"http://127.0.0.1:{port}"
        nginx.terminate()


def test_rolls_and_a_stop_cost_no_request(front):
    """20 clients of nginx see 200 and nothing else until health says otherwise."""
    service, url = front
    with Crowd(url, 20, balanced=True) as crowd:
        for _ in range(3):
            seen = len(service.log)
            service.signal(signal.SIGHUP)
            service.wait_for_log("Serving on", after=seen)
            crowd.wait_for_answers(1)
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
    assert crowd.losses == []
    assert set(crowd.statuses) == {200}
    assert crowd.health_until_draining == {200}
