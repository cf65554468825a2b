"""Health and cross-origin rules, through HTTP."""

import json

import pytest

from aims_server import __version__
from aims_server.metrics.labels import UPSTREAM_ENDPOINTS
from aims_server.pages import PAGES

FRONTEND = "http://localhost:3000"


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/live"])
async def test_health(front, platform, path):
    """Healthy, with version, uptime and the platform's state; no call is made."""
    answer = await front.ask(path)
    body = json.loads(answer.body)
    assert answer.code == 200
    assert list(body) == [
        *("status", "timestamp", "version", "uptimeSeconds"),
        *("upstream", "store"),
    ]
    assert body["store"] == {"state": "off"}
    assert body["status"] == "healthy"
    assert body["version"] == __version__
    endpoints = dict.fromkeys(UPSTREAM_ENDPOINTS, "closed")
    assert body["upstream"] == {"state": "closed", "endpoints": endpoints}
    assert platform.counters.total == 0


@pytest.mark.gen_test
async def test_every_look_up_of_a_page_is_counted(front, token):
    """Two requests for a page are a miss and a hit of it, whatever it is made of."""
    pages = [page for page in PAGES if not page.parameters]
    for page in pages * 2:
        await front.ask(page.path, token)
    figures = (await front.ask("/metrics")).body.decode()
    for page in pages:
        for outcome in ("MISS", "HIT"):
            labels = f'outcome="{outcome}",resource="{page.name}"'
            assert f"aims_cache_lookups_total{{{labels}}} 1.0\n" in figures


@pytest.mark.gen_test
async def test_draining(front, worker):
    """While stopping, readiness fails and liveness does not."""
    worker.lifecycle.draining = True
    health = await front.ask("/health")
    assert health.code == 503
    assert json.loads(health.body) == {"status": "draining"}
    assert (await front.ask("/health/ready")).code == 503
    assert (await front.ask("/health/live")).code == 200


@pytest.mark.gen_test
async def test_preflight(front, platform):
    """A preflight names the methods and headers that are taken."""
    answer = await front.ask(
        "/api/attendance",
        method="OPTIONS",
        headers={
            "Origin": FRONTEND,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        },
    )
    assert answer.code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == FRONTEND
    allowed = answer.headers["Access-Control-Allow-Methods"]
    assert allowed == "GET, HEAD, POST, OPTIONS"
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert platform.counters.total == 0


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_a_foreign_origin_may_not_read(front, method):
    """Its requests and preflights are answered, and nothing is allowed."""
    stranger = {"Origin": "https://evil.example"}
    answer = await front.ask("/health", method=method, headers=stranger)
    assert answer.code in (200, 204)
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
