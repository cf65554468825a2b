"""The platform as it is: behind TLS, and some way off."""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from . import processes
from .cold import TRIP_SECONDS, pages
from .kernel import free_port
from .load import ask, median
from .processes import Platform, Server
from .report import Row, at_most
from .turns import Pace

LINE_SECONDS = 0.03  # each direction
SOON_SECONDS = 0.5
FLOOR_SECONDS = 2 * (TRIP_SECONDS + 2 * LINE_SECONDS)
NGINX = """
daemon off; worker_processes 1; pid {directory}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {directory}/1; proxy_temp_path {directory}/2;
  fastcgi_temp_path {directory}/3; uwsgi_temp_path {directory}/4;
  scgi_temp_path {directory}/5;
  upstream platform {{ server {platform}; keepalive 256; }}
  server {{
    listen 127.0.0.1:{port} ssl{http2} backlog=1024;
    ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:1m;
    location / {{
      proxy_pass http://platform; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_buffers 16 64k;
    }}
  }}
}}
"""


def tls(pace: Pace) -> Iterator[Row]:
    """Cold pages through nginx with TLS and a line of 60 ms of round trip, 200 ms a
    call, beside one for which all connections are there: a worker's first page, and six
    students at once when it has served one page (over HTTP/1.1 they need 76 connections
    more) or none (91, with no session to resume).
    """
    for http2 in (False, True):
        with processes.platform(TRIP_SECONDS) as source:
            with processes.service(source) as near:  # the platform makes its bodies
                ask(near.url, pages(source.newcomers(48)), at_once=24)
            with far_away(source, http2=http2) as (base, ca_file):
                yield from _rows(pace, source, base, ca_file, http2=http2)


def _rows(
    pace: Pace, source: Platform, base: str, ca_file: str, *, http2: bool
) -> Iterator[Row]:
    warm: list[float] = []
    at_once: list[float] = []
    soon: list[float] = []
    six: list[float] = []
    six_later: list[float] = []
    for _ in range(pace.rounds):
        with far_service(source, base, ca_file) as ours:
            at_once += ask(ours.url, pages(source.newcomers(1))).seconds
            for _ in range(3):
                ask(ours.url, pages(source.newcomers(1)))
            warm += ask(ours.url, pages(source.newcomers(5))).seconds
        with far_service(source, base, ca_file) as ours:
            time.sleep(SOON_SECONDS)
            soon += ask(ours.url, pages(source.newcomers(1))).seconds
        with far_service(source, base, ca_file) as ours:
            time.sleep(SOON_SECONDS)
            six += ask(ours.url, pages(source.newcomers(6)), at_once=6).seconds
        with far_service(source, base, ca_file) as ours:
            ask(ours.url, pages(source.newcomers(1)))
            six_later += ask(ours.url, pages(source.newcomers(6)), at_once=6).seconds
    beside = f"warm {1000 * median(warm):.0f} ms, floor {1000 * FLOOR_SECONDS:.0f} ms"
    for what, found, goal in (
        ("first page, the moment a worker serves", at_once, 1.25),
        ("first page, half a second later", soon, 1.25),
        ("six first pages at once", six, 1.1 if http2 else None),
        ("six at once after one page", six_later, 1.1),
    ):
        ratio = median(found) / median(warm)
        yield Row(
            f"{what}, {'HTTP/2' if http2 else 'HTTP/1.1'}, 60 ms away",
            f"{1000 * median(found):.0f} ms, at most {1000 * max(found):.0f} ms",
            beside,
            ratio,
            None if goal is None else at_most(goal, ratio),
        )


def far_service(
    source: Platform, base: str, ca_file: str
) -> contextlib.AbstractContextManager[Server]:
    """A service that calls the platform at ``base``."""
    return processes.service(
        source, EXTERNAL_API_BASE=base, EXTERNAL_API_CA_FILE=ca_file
    )


@contextlib.contextmanager
def far_away(source: Platform, *, http2: bool) -> Iterator[tuple[str, str]]:
    """The platform's base URL behind TLS and a long line, and the authority for it."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_certificates(directory)
        port = free_port()
        host, _, path = source.base.removeprefix("http://").partition("/")
        settings = {
            "directory": name,
            "platform": host,
            "port": port,
            "http2": " http2" if http2 else "",
        }
        (directory / "nginx.conf").write_text(NGINX.format(**settings))
        relay = [sys.executable, "-m", "bench.relay", str(LINE_SECONDS), str(port)]
        with (
            subprocess.Popen(
                ["nginx", "-p", name, "-e", "stderr", "-c", f"{name}/nginx.conf"]
            ) as nginx,
            subprocess.Popen(
                relay, cwd=processes.HERE.parent, stdout=subprocess.PIPE, text=True
            ) as line,
        ):
            try:
                assert line.stdout is not None
                entry = int(line.stdout.readline())
                yield f"https://127.0.0.1:{entry}/{path}", f"{name}/ca.pem"
            finally:
                line.kill()
                nginx.terminate()


def make_certificates(directory: Path) -> None:
    """An authority (ca.pem) and a server's certificate for 127.0.0.1 signed by it."""
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    authority = "req -x509 -keyout ca.key -out ca.pem -days 30 -subj /CN=benchmark"
    request = "req -keyout server.key -out server.csr -subj /CN=127.0.0.1"
    signature = (
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30"
        " -extfile names -out server.pem"
    )
    for command in (
        [*authority.split(), *curve],
        [*request.split(), *curve],
        signature.split(),
    ):
        subprocess.run(
            ["openssl", *command], cwd=directory, check=True, capture_output=True
        )
