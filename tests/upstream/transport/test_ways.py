"""The way to the platform: proxies, TLS, and what is told to nobody on it."""

import contextlib
import logging
from pathlib import Path

import pytest

from aims_server.errors import (
    FailureCause,
    UpstreamDropped,
    UpstreamError,
)
from aims_server.upstream.transport import Transport
from aims_server.upstream.transport.certificates import (
    SYSTEM_BUNDLES,
    TrustedAuthorities,
)

from ...waiting import PATIENCE_SECONDS
from .raw_server import BEARER, CANARY, answer, kind_of
from .secure_server import CERTIFICATE, SecureServer

pytestmark = pytest.mark.gen_test


# Ways to the platform.


async def test_the_environment_names_no_proxy(get, monkeypatch):
    """Proxies in the environment are ignored."""
    monkeypatch.delenv("no_proxy")
    for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await get(answer(b"{}"))).body == b"{}"


async def test_a_proxy_is_used_when_it_is_set(io_loop, raw, monkeypatch):
    """It is used for every host, whatever no_proxy says."""
    monkeypatch.setenv("no_proxy", "*")
    raw.says = answer(b"{}")
    transport = Transport(1, "test", proxy=raw.url)
    url = "http://platform.invalid/path"
    reply = await transport.fetch(url, headers={}, seconds=PATIENCE_SECONDS)
    transport.close()
    assert reply.body == b"{}"
    assert raw.heard.startswith(b"GET http://platform.invalid/path HTTP/1.1\r\n")


async def test_a_proxy_hears_no_token_on_the_way_to_tls(raw):
    """It is asked for a tunnel, and what the tunnel carries is encrypted."""
    raw.says = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    transport = Transport(1, "test", proxy=raw.url)
    with pytest.raises(UpstreamDropped) as caught:
        await transport.fetch("https://platform.invalid/", headers=BEARER, seconds=5.0)
    transport.close()
    assert caught.value.cause == FailureCause("proxy", "it answered 403")
    assert raw.heard.startswith(b"CONNECT platform.invalid:443 HTTP/1.1\r\n")
    assert CANARY.encode() not in raw.heard


async def test_what_fails_behind_the_proxy_is_no_fault_of_the_proxys(raw):
    """It opened the tunnel, in which nobody speaks TLS."""
    raw.says = b"HTTP/1.1 200 Connection established\r\n\r\nno TLS"
    transport = Transport(1, "test", proxy=raw.url)
    with pytest.raises(UpstreamDropped) as caught:
        await transport.fetch(
            "https://platform.invalid/", headers={}, seconds=PATIENCE_SECONDS
        )
    transport.close()
    assert kind_of(caught.value) == "tls"


# TLS.


@pytest.fixture(name="secure")
def _secure(io_loop):
    """A server whose certificate is its own."""
    server = SecureServer()
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


async def test_a_certificate_that_nobody_vouches_for_is_refused(transport, secure):
    """Names match, the signature is its own: no call is made, no token is sent; and the
    cause tells which rule was broken.
    """
    with pytest.raises(UpstreamDropped) as caught:
        await transport.fetch(secure.url, headers={}, seconds=PATIENCE_SECONDS)
    assert kind_of(caught.value) == "certificate"
    assert "self-signed certificate" in str(caught.value.cause)
    assert secure.heard == 0


async def test_further_authorities_can_be_trusted(secure):
    """One file adds to the system's; the name must still be right."""
    transport = Transport(2, "test", authorities=CERTIFICATE.read_bytes())
    for _ in range(3):
        reply = await transport.fetch(secure.url, headers={}, seconds=PATIENCE_SECONDS)
        assert reply.body == b"{}"
    other_name = secure.url.replace("127.0.0.1", "[::ffff:127.0.0.1]")
    with pytest.raises(UpstreamDropped):
        await transport.fetch(other_name, headers={}, seconds=PATIENCE_SECONDS)
    transport.close()
    assert secure.heard == 3


def test_the_systems_authorities_stay():
    """One file in memory has both."""
    authorities = TrustedAuthorities(CERTIFICATE.read_bytes())
    bundle = Path(authorities.path).read_bytes()
    authorities.close()
    assert CERTIFICATE.read_bytes() in bundle
    system = [path for path in map(Path, SYSTEM_BUNDLES) if path.exists()]
    assert all(path.read_bytes() in bundle for path in system[:1])


# Secrets.


async def test_no_log_level_shows_the_token(transport, raw, caplog, capfd):
    """Curl's own log would print each header at DEBUG."""
    with caplog.at_level(logging.DEBUG):
        for says in (answer(b"{}"), b"nonsense\r\n\r\n"):
            raw.says = says
            with contextlib.suppress(UpstreamError):
                await transport.fetch(
                    f"{raw.url}?{CANARY}",
                    headers={"Authorization": f"Bearer {CANARY}"},
                    body=CANARY.encode(),
                    seconds=1.0,
                )
    printed = capfd.readouterr()
    assert CANARY in raw.heard.decode()
    assert CANARY not in caplog.text + printed.out + printed.err


async def test_an_error_says_nothing_of_the_call(transport, raw):
    """Neither its text nor its causes quote the URL, a header or the answer."""
    raw.says = f"{CANARY}\r\n\r\n".encode()
    with pytest.raises(UpstreamError) as caught:
        await transport.fetch(f"{raw.url}?{CANARY}", headers={}, seconds=1.0)
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None
