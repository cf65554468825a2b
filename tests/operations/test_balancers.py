"""The balancers' files, and real balancers running them before a small server."""

import http.client
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from ..upstream.transport.secure_server import CERTIFICATE
from ..waiting import PATIENCE_SECONDS, free_port, until
from .balancing import (
    KINDS,
    SECOND_MACHINE,
    Backend,
    Balancer,
    nginx_command,
    nginx_file,
    rewritten,
)
from .programs import CONF, accepted_by, wait_for_port

SPOOFED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Real-IP": "203.0.113.9",
    "Forwarded": "for=203.0.113.9",
    "X-Forwarded-Host": "evil.example",
}


@contextmanager
def serving() -> Iterator[Backend]:
    """A backend while the block runs."""
    with Backend() as server:
        thread = Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def running(command: list[str], directory: Path, port: int) -> Iterator[None]:
    """A balancer while the block runs."""
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            wait_for_port(port, process)
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


@pytest.fixture(name="backend")
def _backend() -> Iterator[Backend]:
    with serving() as server:
        yield server


@pytest.fixture(name="balancer", params=KINDS)
def _balancer(
    request: pytest.FixtureRequest, backend: Backend, tmp_path: Path
) -> Iterator[Balancer]:
    """Each balancer in turn, with our file, before the backend."""
    configure, command = KINDS[request.param]
    port = free_port()
    path = configure(tmp_path, port, backend.server_port)
    with running(command(path), tmp_path, port):
        yield Balancer(port, backend)


def test_nginx_accepts_its_file(tmp_path: Path):
    """``nginx -t`` finds no fault and gives no warning."""
    path = nginx_file(tmp_path, free_port(), free_port())
    command = nginx_command(path)
    assert "[warn]" not in accepted_by("nginx", "-t", *command[1:])


def test_haproxy_accepts_its_file():
    """``haproxy -c`` finds no fault and gives no warning."""
    said = accepted_by("haproxy", "-c", "-f", CONF / "haproxy.cfg")
    assert "WARNING" not in said


def test_a_client_cannot_choose_its_address(balancer: Balancer):
    """Every header that could carry an address is the balancer's own or gone."""
    seen = balancer.passed_on("/api/quiz", SPOOFED)
    assert seen["x-forwarded-for"] == ["127.0.0.1"]
    assert "203.0.113.9" not in str(seen)
    assert "evil.example" not in str(seen)


@pytest.mark.parametrize(
    ("offered", "kept"), [("abc.DEF_1-2", True), ("a b", False), ("x" * 65, False)]
)
def test_the_request_id_goes_through(balancer: Balancer, offered: str, kept: bool):
    """A well-formed request id is passed on, any other is replaced by a good one."""
    (seen,) = balancer.passed_on("/api/quiz", {"X-Request-Id": offered})["x-request-id"]
    assert (seen == offered) is kept
    assert 1 <= len(seen) <= 64
    assert set(seen) <= set("abcdefABCDEF0123456789.-_")


def test_the_token_goes_through(balancer: Balancer):
    """The longest token that the service takes reaches it unchanged."""
    bearer = "Bearer " + "t" * 4096
    seen = balancer.passed_on("/api/quiz", {"Authorization": bearer})
    assert seen["authorization"] == [bearer]


def test_connections_to_the_service_are_kept(balancer: Balancer):
    """Clients that come and go share connections to the service."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", balancer.port, timeout=PATIENCE_SECONDS
    )
    for _ in range(6):
        connection.request("GET", "/api/quiz")
        connection.getresponse().read()
    connection.close()
    ports = [port for path, port in balancer.backend.seen if path == "/api/quiz"]
    assert len(ports) == 6
    assert len(set(ports)) < 6


def test_a_reading_call_is_repeated_when_its_connection_breaks(balancer: Balancer):
    """Nobody notices a kept connection that the service closes under a request."""
    assert balancer.ask("/api/quiz").status == 200  # from now on one is kept
    balancer.backend.to_drop = ["/api/attendance"]
    assert balancer.ask("/api/attendance").status == 200
    assert balancer.backend.times("/api/attendance") == 2


def test_a_login_has_a_connection_of_its_own(balancer: Balancer):
    """It is not lost to a kept connection that the service happens to close."""
    assert balancer.ask("/api/quiz").status == 200
    assert balancer.ask("/api/login", method="POST", body=b"{}").status == 200
    ports = {path: port for path, port in balancer.backend.seen}
    assert ports["/api/login"] != ports["/api/quiz"]


def test_a_login_is_never_made_twice(balancer: Balancer):
    """A login whose connection breaks is an error, not a second login."""
    assert balancer.ask("/api/quiz").status == 200
    balancer.backend.to_drop = ["/api/login"]
    answer = balancer.ask("/api/login", method="POST", body=b"{}")
    assert answer.status in (502, 503)
    assert json.loads(answer.body)["code"].startswith("upstream_")
    assert balancer.backend.times("/api/login") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_comes_from_one_machine(kind: str, backend: Backend, tmp_path: Path):
    """A browser would find no page while two machines run two releases, each of which
    has files of its own.
    """
    configure, command = KINDS[kind]
    port = free_port()
    with serving() as second:
        path = configure(tmp_path, port, backend.server_port)
        address = f"127.0.0.1:{second.server_port}"
        changes = [(old, new.format(address)) for old, new in SECOND_MACHINE[kind]]
        path.write_text(rewritten(path.read_text(), *changes))
        paths = {"/", *(f"/page/0123/{number}.js" for number in range(8))}
        with running(command(path), tmp_path, port):
            for asked in paths:
                assert Balancer(port, backend).ask(asked).status == 200
        of_each = [paths.intersection(dict(one.seen)) for one in (backend, second)]
    assert sorted(of_each, key=len) == [set(), paths]


def test_figures_are_not_public(balancer: Balancer):
    """/metrics is not passed on; its refusal is JSON of the contract's form."""
    for path in ("/metrics", "/metrics?x=1", "/metrics/"):
        answer = balancer.ask(path)
        assert answer.status == 404
        assert json.loads(answer.body)["code"] == "not_found"
    assert not any(path.startswith("/metrics") for path, _ in balancer.backend.seen)


def test_an_oversized_body_stops_here(balancer: Balancer):
    """64 KiB pass, one byte more is a 413 in JSON and never reaches the service."""
    fits = balancer.ask("/api/fits", method="POST", body=b"x" * 65536)
    over = balancer.ask("/api/over", method="POST", body=b"x" * 65537)
    assert fits.status == 200
    assert over.status == 413
    assert json.loads(over.body)["code"] == "too_large"
    assert balancer.backend.times("/api/over") == 0


@pytest.mark.parametrize("balancer", ["nginx"], indirect=True)
def test_what_the_balancer_cannot_read_is_told_in_json(balancer: Balancer):
    """A request line without sense or end, and a coding that nobody knows, are 400."""
    for head in (
        b"GET /" + 9000 * b"a" + b" HTTP/1.1",
        b"\x16\x03\x01",
        b"OPTIONS * HTTP/1.1\r\nHost: x",
        b"GET / HTTP/3.0\r\nHost: x",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip",
    ):
        where = ("127.0.0.1", balancer.port)
        with socket.create_connection(where, PATIENCE_SECONDS) as client:
            client.sendall(head + b"\r\n\r\n")
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert answer.status == 400
            assert json.load(answer)["code"] == "invalid_request"


def test_plain_http_on_the_port_of_tls_is_told_in_json(
    backend: Backend, tmp_path: Path
):
    """Where TLS is on, as nginx's file shows, this 400 is no page of HTML either."""
    port = free_port()
    path = nginx_file(tmp_path, port, backend.server_port)
    plain = f"listen 127.0.0.1:{port}"
    pair = f"ssl_certificate {CERTIFICATE}; ssl_certificate_key {CERTIFICATE};"
    secure = rewritten(path.read_text(), (f"{plain};", f"{plain} ssl; {pair}"))
    path.write_text(secure)
    with running(nginx_command(path), tmp_path, port):
        answer = Balancer(port, backend).ask("/api/quiz")
    assert answer.status == 400
    assert json.loads(answer.body)["code"] == "invalid_request"


def test_a_service_that_is_gone_is_told_in_json(balancer: Balancer):
    """Without the service a client reads 503, a code it knows and Retry-After."""
    balancer.backend.shutdown()
    balancer.backend.socket.close()
    answer = balancer.ask("/api/quiz")
    told = json.loads(answer.body)
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"] == "application/json"
    assert told["code"] == "upstream_unavailable"
    assert told["error"] == told["message"]
    assert set(told) == {"error", "message", "code", "requestId", "timestamp"}


@pytest.mark.parametrize("balancer", ["haproxy"], indirect=True)
def test_a_draining_service_is_left_in_time(balancer: Balancer, tmp_path: Path):
    """haproxy takes it out after two failed probes, the first after at most a second
    and the second 250 ms later: within the default drain delay of 2 s. Without another
    one requests then go to the entry for restarts.
    """
    assert balancer.ask("/api/quiz").status == 200
    balancer.backend.healthy = False

    def is_left() -> bool:
        assert balancer.ask("/api/quiz").status == 200
        return '"server":"restarting"' in (tmp_path / "output").read_text()

    until(is_left)
    assert "check inter 1s fastinter 250ms fall 2" in (CONF / "haproxy.cfg").read_text()
