"""What RFC 9110 asks of every answer: HEAD, dates, conditions, ranges, preflights and
negotiation; docs/http.rst lists which of the rules has which test.
"""

import json
import re
from pathlib import Path

import pytest

from .paths import PAGES
from .raw import HEALTH, request

pytestmark = pytest.mark.both_loops

ROOT = Path(__file__).parents[2]
GET_PATHS = [
    *PAGES,
    "/health", "/health?x", "/health/live", "/metrics", "/openapi.json", "/docs",
    "/docs/swagger-ui.css", "/nowhere",
]  # fmt: skip
# What differs from one answer to the next.
VARYING = {"x-request-id", "date", "server-timing", "ratelimit", "x-cache", "age"}


@pytest.mark.gen_test
@pytest.mark.parametrize("path", GET_PATHS)
@pytest.mark.parametrize(
    "more", [(), ("Accept-Encoding: gzip",), ("If-None-Match: *",)]
)
async def test_head_is_get_without_the_body(connection, token, path, more, clock):
    """The same status and headers, on every path that has GET, kept or not."""
    clock.stop()
    await connection.ask(request(path, token))
    status, headers, body = await connection.ask(request(path, token, *more))
    connection.send(request(path, token, *more, method="HEAD"))
    without = await connection.head()
    lasting = {name: headers[name] for name in headers.keys() - VARYING}
    if path not in ("/metrics", "/nowhere"):
        assert without[1].get("content-length") == headers.get("content-length")
    for each in (lasting, without[1]):
        each.pop("content-length", None)
    assert (status, lasting) == (
        without[0],
        {name: without[1][name] for name in without[1].keys() - VARYING},
    )
    assert (await connection.ask(b"GET " + HEALTH + b"\r\n"))[2].startswith(
        b'{"status"'
    )
    assert body or status == 304


@pytest.mark.gen_test
async def test_every_answer_is_dated(connection, token):
    """Every answer has one IMF-fixdate, whichever path sends it."""
    await connection.ask(request("/api/quiz", token))
    for asked in (
        request("/api/quiz", token),
        request("/api/quiz", token, "If-None-Match: *"),
        request("/health/live", token),
        request("/nowhere", token),
        request("/api/quiz", "a b"),
        request("/" + "a" * 9000, token),
    ):
        _, headers, _ = await connection.ask(asked)
        assert re.fullmatch(
            r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
            headers["date"],
        )


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/api/quiz", "/docs"])
async def test_a_304_has_what_a_cache_updates(connection, token, path):
    """The tag, the freshness and ``Vary`` of the 200, and nothing of its body."""
    status, whole, _ = await connection.ask(request(path, token))
    known = f"If-None-Match: {whole['etag']}"
    for lines in ((known,), (known, "Trailer: none")):  # by the fast path and without
        status, headers, body = await connection.ask(request(path, token, *lines))
        assert (status, body) == (304, b"")
        for name in ("etag", "vary", "cache-control"):
            assert headers[name].split(",")[0] == whole[name].split(",")[0]
        assert "content-length" not in headers


@pytest.mark.gen_test
async def test_a_range_is_ignored(connection, token):
    """The whole page is sent."""
    _, _, whole = await connection.ask(request("/api/quiz", token))
    status, _, body = await connection.ask(
        request("/api/quiz", token, "Range: bytes=0-1")
    )
    assert (status, body) == (200, whole)


@pytest.mark.gen_test
async def test_a_condition_on_a_post_is_not_evaluated(connection, token):
    """304 is an answer to GET and HEAD only (RFC 9110 13.1.2), kept or not."""
    body = json.dumps({"token": token}).encode()
    lines = (
        "Content-Type: application/json",
        "If-None-Match: *",
        f"Content-Length: {len(body)}",
    )
    asked = request("/api/attendance", token, *lines, method="POST") + body
    assert [(await connection.ask(asked))[0] for _ in range(2)] == [200, 200]


@pytest.mark.gen_test
async def test_a_condition_changes_no_failure(connection):
    """What would not be 200 without it stays what it is."""
    for path, status in (("/nowhere", 404), ("/api/quiz", 401)):
        asked = request(path, "a b", "If-None-Match: *")
        assert (await connection.ask(asked))[0] == status


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("path", ["/api/quiz", "/api/attendance", "/health", "/gone"])
async def test_every_answer_varies_by_origin(connection, path, method):
    """It does with and without Origin: a cache must not give it to another's script."""
    for lines in ((), ("Origin: http://localhost:3000",)):
        connection.send(request(path, "a b", *lines, method=method))
        _, headers = await connection.head()
        assert "Origin" in headers["vary"].split(", ")
        if method != "HEAD":
            await connection.read(int(headers.get("content-length", 0)))


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/api/quiz", "/health", "/nowhere", "/docs/none"])
async def test_every_path_answers_a_preflight(connection, path):
    """A listed origin gets permission, so that its script may read a 404 too."""
    lines = ("Origin: http://localhost:3000", "Access-Control-Request-Method: GET")
    status, headers, _ = await connection.ask(
        request(path, "a", *lines, method="OPTIONS")
    )
    assert status == 204
    assert headers["access-control-allow-origin"] == "http://localhost:3000"
    status, headers, _ = await connection.ask(request(path, "a b", *lines))
    assert status in (200, 401, 404)
    assert headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "X-Cache" in headers["access-control-expose-headers"]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("accept", "json_is_sent"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", True),
        ("application/json, */*", False),
        ("application/json;q=0, text/plain", False),
        ("application/json, text/plain;q=0.5", True),
        ("text/plain;q=0.4, application/*;q=0.5", True),
        ("application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1", False),
        ("text/html, application/json;q=0.9, */*;q=0.8", True),
        ("application/json;q=0.4, text/plain;version=0.0.4;q=0.5", False),
        ("application/json;q=0.4, text/plain;version=0.0.3;q=0.5", True),
        ("application/json; charset=UTF-8, text/plain;q=0.5", True),
    ],
)
async def test_metrics_are_json_where_accept_prefers_it(
    connection, accept, json_is_sent
):
    """JSON is sent if it weighs more than text; equal weights give text."""
    lines = () if accept is None else (f"Accept: {accept}",)
    _, headers, _ = await connection.ask(request("/metrics", "a", *lines))
    assert headers["content-type"].startswith("application/json") == json_is_sent


def test_the_tests_of_the_table_exist():
    """Each test that docs/http.rst names exists."""
    table = (ROOT / "docs" / "http.rst").read_text("utf-8")
    named = re.findall(r"``([\w/]+\.py)::(\w+)``", table)
    assert len(named) > 30
    for file, name in named:
        text = (ROOT / "tests" / file).read_text("utf-8")
        assert re.search(rf"^ *(?:async )?def {name}\(", text, re.MULTILINE), name
