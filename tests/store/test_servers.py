"""The servers that an operator may have: Valkey or Redis, TLS, sentinels."""

import asyncio
import contextlib

import pytest

from aims_server.store.connection import Connection, StoreError, open_client
from aims_server.store.scripts import TAKE
from aims_server.store_url import StoreAddress

from .server import REDIS, StoreServer, certificate, free_port
from .test_connection import connected
from .test_invalidation import until

pytestmark = [pytest.mark.gen_test(timeout=20), pytest.mark.process]


@pytest.fixture(name="tls", scope="module")
def _tls(tmp_path_factory):
    """A redis-server that speaks TLS only, and the certificate to trust."""
    directory = tmp_path_factory.mktemp("tls")
    cert, key = certificate(directory)
    port = free_port()
    server = StoreServer(
        directory,
        *("--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key),
        *("--tls-auth-clients", "no"),
        binary=REDIS,
    ).start()
    yield f"rediss://127.0.0.1:{port}", str(cert)
    server.kill()


async def test_tls(tls):
    """A certificate that is trusted by STORE_CA_FILE is good."""
    url, ca_file = tls
    async with connected(url, ca_file=ca_file) as connection:
        assert await connection.call("ECHO", "x", seconds=5) == b"x"


async def test_an_unknown_certificate_is_refused(tls):
    """Without that file nothing is said to such a server."""
    url, _ = tls
    async with connected(url) as connection:
        with pytest.raises(StoreError):
            await connection.call("ECHO", "x", seconds=5)


@pytest.mark.parametrize("binary", [None, REDIS], ids=["valkey", "redis"])
async def test_the_scripts_run_on_both(tmp_path, binary):
    """Valkey 9 and Redis 7 answer the same to a look-up."""
    server = StoreServer(tmp_path, binary=binary).start()
    try:
        async with connected(server.url) as connection:
            words = ("EVAL", TAKE, 1, "aims1:{x}", "tag", "", "1", 7, 2500)
            assert (await connection.call(*words, seconds=5))[0] == b"none"
            assert (await connection.call(*words, seconds=5))[0] == b"busy"
    finally:
        server.kill()


@contextlib.contextmanager
def watched(tmp_path):
    """A primary, a replica of it, and a sentinel that fails over within a second."""
    ports = [free_port() for _ in range(3)]
    servers = []
    for name, port in zip(("one", "two"), ports, strict=False):
        (tmp_path / name).mkdir()
        options = [] if name == "one" else ["--replicaof", f"127.0.0.1 {ports[0]}"]
        servers.append(
            StoreServer(
                tmp_path / name,
                *("--repl-diskless-sync-delay", "0", "--bind", "127.0.0.1"),
                *options,
                binary=REDIS,
                port=port,
            ).start()
        )
    (tmp_path / "sentinel").mkdir()
    configuration = tmp_path / "sentinel" / "sentinel.conf"
    configuration.write_text(
        f"port {ports[2]}\nbind 127.0.0.1\n"
        f"sentinel monitor main 127.0.0.1 {ports[0]} 1\n"
        "sentinel down-after-milliseconds main 300\n"
        "sentinel failover-timeout main 2000\n"
    )
    sentinel = StoreServer(tmp_path / "sentinel", binary=REDIS, port=ports[2])
    sentinel._command = [
        *(REDIS, str(configuration), "--sentinel", "--daemonize", "no"),
        *("--unixsocket", str(sentinel.socket)),
    ]
    sentinel.start()
    try:
        yield f"redis+sentinel://127.0.0.1:{ports[2]}/main", servers, sentinel
    finally:
        for server in (sentinel, *servers):
            server.kill()


@pytest.mark.gen_test(timeout=30)
async def test_a_failover_is_followed(tmp_path):
    """When the primary dies, calls reach the new one as soon as the sentinel knows."""
    with watched(tmp_path) as (url, servers, sentinel):
        await until(lambda: b"slave" in sentinel.ask("SENTINEL", "replicas", "main"))
        connection = Connection(open_client(StoreAddress.parse(url)))
        assert await connection.call("SET", "k", "1", seconds=5)
        await until(lambda: servers[1].ask("GET", "k") == b"$1\r\n1\r\n")
        servers[0].kill()
        while True:
            with contextlib.suppress(StoreError):
                assert await connection.call("SET", "k", "2", seconds=1)
                break
            await asyncio.sleep(0.1)
        assert servers[1].ask("GET", "k") == b"$1\r\n2\r\n"
        await connection.close()
