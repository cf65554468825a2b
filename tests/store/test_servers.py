"""The servers that an operator may have: Valkey or Redis, TLS, sentinels."""

import asyncio
import contextlib

import pytest

from aims_server.cache import Found, Want
from aims_server.primitives import Epochs
from aims_server.primitives.store_url import StoreAddress
from aims_server.ratelimit import BucketTable, RateLimiter
from aims_server.store import MachineStore, Store, inspect
from aims_server.store.connection import Connection, Refused, StoreError
from aims_server.store.limits import SharedLimits
from aims_server.store.redis_clients import (
    _pools,
    close_client,
    open_client,
    tls_context,
)
from aims_server.store.scripts import TAKE

from ..operations.programs import ROOT, program
from ..waiting import eventually, free_port
from .conftest import Machine, Observer
from .server import StoreServer, certificate
from .test_connection import connected
from .test_pages import ANN, keep, page, take

CONF = ROOT / "conf"
REDIS = "redis-server"

pytestmark = [pytest.mark.gen_test, pytest.mark.process]


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
        name=REDIS,
    ).start()
    yield f"rediss://127.0.0.1:{port}", str(cert)
    server.kill()


async def test_tls(tls):
    """A certificate that is trusted by STORE_CA_FILE is good."""
    url, ca_file = tls
    async with connected(url, ca_file=ca_file) as connection:
        assert await connection.call("ECHO", "x", seconds=20) == b"x"


async def test_a_worker_trusts_that_file_for_all_its_connections(tls):
    """Both its commands and its subscription use the file."""
    url, ca_file = tls
    machine = MachineStore(StoreAddress.parse(url), bytes(32), ca_file=ca_file)
    store = Store(machine, Epochs(), Observer(), patience=20.0, lifetime=2100.0)
    store.start([])
    await eventually(lambda: machine.cursor.known)
    taken = await store.pages.take(b"k", ANN, Want(), seconds=2.5)
    assert taken.lease is not None
    await store.pages.release(taken.lease)
    await store.close()


async def test_an_unknown_certificate_is_refused(tls):
    """Without that file nothing is said to such a server."""
    url, _ = tls
    async with connected(url) as connection:
        with pytest.raises(StoreError):
            await connection.call("ECHO", "x", seconds=20)


async def test_only_the_given_authorities_are_trusted(tls):
    """With STORE_CA_FILE the system's authorities are not trusted."""
    url, ca_file = tls
    context = tls_context(StoreAddress.parse(url), ca_file)
    assert context is not None
    assert context.cert_store_stats()["x509"] == 1
    assert context.check_hostname


@pytest.mark.parametrize("host", ["rediss://h:1", "rediss+sentinel://a,b/main"])
async def test_one_context_serves_all_connections(tls, host):
    """None is made while the loop runs, neither for sentinels nor for the server."""
    address = StoreAddress.parse(host)
    context = tls_context(address, tls[1])
    client = open_client(address, tls=context)
    for pool in _pools(client):
        assert pool.make_connection().ssl_context.get() is context
    await close_client(client)


@pytest.mark.parametrize("name", [None, REDIS], ids=["valkey", "redis"])
async def test_the_scripts_run_on_both(tmp_path, name):
    """Valkey 9 and Redis 7 answer the same to a look-up."""
    server = StoreServer(tmp_path, name=name).start()
    try:
        async with connected(server.url) as connection:
            words = ("EVAL", TAKE, 1, "aims1:{x}", "tag", "", "1", 7, 2500)
            assert (await connection.call(*words, seconds=20))[0] == b"none"
            assert (await connection.call(*words, seconds=20))[0] == b"busy"
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
                name=REDIS,
                port=port,
            ).start()
        )
    (tmp_path / "sentinel").mkdir()
    configuration = tmp_path / "sentinel" / "sentinel.conf"
    configuration.write_text(
        f"port {ports[2]}\nbind 127.0.0.1\n"
        f"sentinel monitor main 127.0.0.1 {ports[0]} 1\n"
        "sentinel down-after-milliseconds main 1500\n"
        "sentinel failover-timeout main 2000\n"
    )
    sentinel = StoreServer(tmp_path / "sentinel", name=REDIS, port=ports[2])
    sentinel._command = [
        *(program(REDIS), str(configuration), "--sentinel", "--daemonize", "no"),
        *("--unixsocket", str(sentinel.socket)),
    ]
    sentinel.start()
    try:
        yield f"redis+sentinel://127.0.0.1:{ports[2]}/main", servers, sentinel
    finally:
        for server in (sentinel, *servers):
            server.kill()


@pytest.mark.gen_test
async def test_a_failover_is_followed(tmp_path):
    """When the primary dies, calls reach the new one as soon as the sentinel knows."""
    with watched(tmp_path) as (url, servers, sentinel):
        replicas = ("SENTINEL", "replicas", "main")
        await eventually(lambda: b"slave" in sentinel.ask(*replicas))
        connection = Connection(open_client(StoreAddress.parse(url)))
        assert await connection.call("SET", "k", "1", seconds=20)
        await eventually(lambda: servers[1].ask("GET", "k") == b"$1\r\n1\r\n")
        servers[0].kill()
        while True:
            with contextlib.suppress(StoreError):
                assert await connection.call("SET", "k", "2", seconds=1)
                break
            await asyncio.sleep(0.1)
        assert servers[1].ask("GET", "k") == b"$1\r\n2\r\n"
        await connection.close()


@pytest.fixture(name="guarded", params=[None, REDIS], ids=["valkey", "redis"])
def _guarded(tmp_path, request):
    """A server with the configuration and the user of conf/, on a port."""
    port = free_port()
    users = tmp_path / "users.acl"
    users.write_text((CONF / "valkey-users.acl").read_text())
    text = (CONF / "valkey.conf").read_text()
    path = tmp_path / "valkey.conf"
    path.write_text(
        text.replace("/etc/valkey/aims-users.acl", str(users)).replace(
            "port 6379", f"port {port}", 1
        )
    )
    server = StoreServer(tmp_path, name=request.param, port=port)
    server._command.insert(1, str(path))
    server.start(ready=b"-NOAUTH")
    yield f"redis://aims:change-me@127.0.0.1:{port}"
    server.kill()


async def test_a_server_in_a_sentinels_place_is_told(guarded):
    """Its port is the wrong one; no right is missing."""
    url = guarded.replace("redis://aims:change-me@", "redis+sentinel://")
    async with connected(f"{url}/main") as connection:
        with pytest.raises(StoreError, match="no sentinel"):
            await connection.call("PING", seconds=20)


@pytest.fixture(name="machine")
def _machine(io_loop, guarded):
    async def begin():
        machine = Machine(guarded)
        machine.follow()
        return machine

    machine = io_loop.run_sync(begin)
    yield machine
    io_loop.run_sync(machine.close)


async def test_the_user_of_conf_may_do_what_we_do_and_no_more(guarded, machine):
    """Pages, leases, refusals and limits go with conf/valkey-users.acl; other keys and
    other commands do not.
    """
    await eventually(lambda: machine.shared.known)
    assert await keep(machine, page())
    assert (await take(machine)).found is Found.KEPT
    machine.refuse(ANN)
    await eventually(lambda: not machine.invalidations._pending)
    limits = SharedLimits(machine.client, machine.secrets, machine.observer)
    one = RateLimiter(BucketTable(8), name="x", per_minute=8, secret=b"x", shared=True)
    asked = await limits.ask(one, "ann")
    assert asked is not None
    assert asked.remaining == 7
    one.take("ann")
    await limits.sync([one])
    assert machine.observer.synced == 1
    assert set(machine.observer.calls) == {"ok"}
    async with connected(guarded) as connection:
        for command in ("KEYS *", "FLUSHALL", "GET other", "MONITOR", "CONFIG SET a b"):
            with pytest.raises(Refused):
                await connection.call(*command.split(), seconds=20)


async def test_what_check_says_of_a_store(tmp_path, guarded):
    """It prints what the store is, and settings that are hardly intended."""
    shown, doubts = await inspect(StoreAddress.parse(guarded))
    assert shown.endswith("maxmemory 256.00M, allkeys-lru")
    assert doubts == []
    (tmp_path / "careless").mkdir()
    careless = StoreServer(
        tmp_path / "careless",
        *("--save", "60 1", "--maxmemory", "8mb", "--maxmemory-policy", "noeviction"),
    ).start()
    _, doubts = await inspect(StoreAddress.parse(careless.url))
    careless.kill()
    assert [doubt.split()[0] for doubt in doubts] == ["maxmemory-policy", "it"]
    with pytest.raises(StoreError):
        await inspect(StoreAddress.parse(careless.url))


@pytest.mark.parametrize(
    ("rights", "reason"),
    [
        ("~aims1:* +ping", "its user may not do this"),
        ("~aims1:* +ping +eval +xrevrange", "its user may not do this"),
        ("~other:* +@all", "its user may not do this"),
        ("~* +@all", "it is a replica and takes no writes"),
    ],
)
async def test_check_tries_what_the_service_does(tmp_path, rights, reason):
    """A user with too few rights, and a replica, answer a ping."""
    store = StoreServer(
        tmp_path,
        *("--user", "aims", "on", ">good", "resetchannels", *rights.split()),
        *("--replicaof", "127.0.0.1", "9", "--replica-read-only", "yes"),
    ).start()
    url = store.url.replace("://", "://aims:good@")
    try:
        _, doubts = await inspect(StoreAddress.parse(url))
    finally:
        store.kill()
    assert doubts[0].startswith(f"it refuses what the service does there: {reason}")


async def test_check_names_each_right_that_is_missing_and_leaves_nothing(tmp_path):
    """What its user may not do is told, whatever it is; once it may, nothing is."""
    store = StoreServer(tmp_path, "--maxmemory", "100mb").start()
    address = StoreAddress.parse(store.url.replace("://", "://aims:good@"))
    user = (CONF / "valkey-users.acl").read_text().split()
    rights = user[user.index("-@all") + 1 :]
    try:
        for right in set(rights) - {"+ping", "+info", "+config|get"}:
            others = [each for each in rights if each != right]
            start = ("ACL", "SETUSER", "aims", "reset", "on", ">good", "~aims1:*")
            store.ask(*start, *others)
            _, doubts = await inspect(address)
            assert any("may not do this" in doubt for doubt in doubts), right
            store.ask(*start, *rights)
            _, doubts = await inspect(address)
            assert not any("refuses" in doubt for doubt in doubts), right
            assert store.ask("EXISTS", "aims1:probe") == b":0\r\n"
    finally:
        store.kill()
