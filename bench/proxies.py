"""Kept pages beside the caches that an operator could put in the service's place."""

import contextlib
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from . import processes
from .kept import ENCODINGS, PAGES, page_title
from .kernel import free_port
from .load import page_request
from .processes import Server
from .report import Row
from .turns import Pace, beside, warm

WORKERS = 2
CONNECTIONS = 100
# The least ratio to nginx: packed, and as it is. The small page, where nothing but the
# cost of a request counts, is there for comparison.
GOALS = {"gzip": 0.6, "identity": 0.7}
GOAL_PAGE = "all-attendance"

# As nginx's manual tunes a cache: files in memory, kept open, sent by the kernel, a
# buffered log. Our answers say `private`, which a shared cache has to be told to
# ignore; the key is what keeps students apart. tcp_nopush pays for small pages (94 000
# a second in place of 53 000) and holds large ones up until the client acknowledges
# (2600 in place of 44 000 for 75 kB), so nginx runs with it and without.
NGINX = """
worker_processes {workers};
pid {folder}/{pid};
error_log {folder}/error.log;
events {{ worker_connections 4096; multi_accept on; }}
http {{
    access_log {folder}/access.log combined buffer=64k flush=1s;
    sendfile on;
    tcp_nopush {tcp_nopush};
    keepalive_requests 1000000;
    open_file_cache max=10000 inactive=600s;
    open_file_cache_valid 600s;
    proxy_cache_path {folder}/cache levels=1:2 keys_zone=pages:16m max_size=512m
                     inactive=600s use_temp_path=off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} reuseport backlog=4096;
        location / {{
            proxy_pass {source};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache pages;
            proxy_cache_key $request_uri$http_authorization$http_accept_encoding;
            proxy_cache_valid 200 600s;
            proxy_ignore_headers Cache-Control Expires Vary;
            add_header X-Cache $upstream_cache_status;
        }}
    }}
}}
"""
VCL = """
vcl 4.1;
backend service {{ .host = "127.0.0.1"; .port = "{source_port}"; }}
sub vcl_recv {{ return (hash); }}
sub vcl_hash {{
    hash_data(req.url);
    hash_data(req.http.Authorization);
    return (lookup);
}}
sub vcl_backend_response {{ set beresp.ttl = 600s; unset beresp.http.Cache-Control; }}
"""


def proxies(pace: Pace) -> Iterator[Row]:
    """GET of a kept page beside nginx's proxy_cache and Varnish, each giving the same
    bytes out of its own cache, keyed by the whole Authorization header, with two
    workers and its log on. They check no limit, count nothing and know no student.
    """
    with contextlib.ExitStack() as running:
        start = running.enter_context
        source = start(processes.platform())
        token = source.newcomers(1)[0]
        ours = start(processes.service(source, WORKERS))
        others = [start(make(ours)) for make in PROXIES if make.there()]
        for page in PAGES:
            for encoding in ENCODINGS:
                request = page_request(page, token, encoding)
                size = len(processes.fetch(ours.url, request))
                for server in (ours, *others):
                    warm(server, request)
                yield from beside(
                    page_title(request, size),
                    [(server, request) for server in (ours, *others)],
                    CONNECTIONS,
                    pace,
                    goals={each.name: GOALS[encoding] for each in NGINXES}
                    if page == GOAL_PAGE
                    else {},
                )


class _Proxy(ABC):
    """A program that caches in front of a server."""

    def __init__(self, name: str, program: str) -> None:
        self.name = name
        self._program = program

    def there(self) -> bool:
        """Whether the program is installed."""
        return shutil.which(self._program) is not None

    @contextlib.contextmanager
    def __call__(self, source: Server) -> Iterator[Server]:
        """Run it before ``source``."""
        port = free_port()
        # In memory where there is such a folder, as the manuals advise.
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            Path(folder).chmod(0o755)  # workers of nginx are another user's
            for command in self.commands(source.url, port, Path(folder)):
                subprocess.run(command, check=True, capture_output=True)
            pid = int(Path(folder, f"{self.name}.pid").read_text())
            try:
                server = Server(self.name, f"http://127.0.0.1:{port}", pid, 0.0)
                processes.wait_until_healthy(server.url)
                yield server
            finally:
                subprocess.run(["kill", str(pid)], check=False)

    @abstractmethod
    def commands(self, source: str, port: int, folder: Path) -> list[list[str]]:
        """What starts it, and leaves its process id in a file of its name."""


class _Nginx(_Proxy):
    def __init__(self, name: str, program: str, tcp_nopush: str) -> None:
        super().__init__(name, program)
        self._tcp_nopush = tcp_nopush

    def commands(self, source: str, port: int, folder: Path) -> list[list[str]]:
        text = NGINX.format(
            source=source,
            port=port,
            folder=folder,
            workers=WORKERS,
            pid=f"{self.name}.pid",
            tcp_nopush=self._tcp_nopush,
        )
        file = folder / "nginx.conf"
        file.write_text(text)
        return [[self._program, "-c", str(file)]]


class _Varnish(_Proxy):
    def commands(self, source: str, port: int, folder: Path) -> list[list[str]]:
        file = folder / "service.vcl"
        file.write_text(VCL.format(source_port=source.rpartition(":")[2]))
        name = ["-n", str(folder / "state")]
        return [
            [
                *[self._program, *name, "-a", f"127.0.0.1:{port}", "-f", str(file)],
                *["-s", "malloc,512m", "-P", str(folder / "varnish.pid")],
                *["-p", "thread_pools=2", "-p", "thread_pool_min=100"],
            ],
            ["varnishncsa", *name, "-D", "-w", str(folder / "access.log")],
        ]


NGINXES = (
    _Nginx("nginx-nopush", "nginx", "on"),
    _Nginx("nginx", "nginx", "off"),
)
PROXIES = (*NGINXES, _Varnish("varnish", "varnishd"))
