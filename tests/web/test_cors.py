"""Which origins browsers let read our answers: exactly those of the list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.web.cors import CorsPolicy
from aims_server.web.headers import header_pairs

OURS = ["http://localhost:3000", "https://aims.example"]
METHODS = ("GET", "POST")


@pytest.fixture(name="policy")
def _policy() -> CorsPolicy:
    return CorsPolicy(OURS)


@pytest.mark.parametrize("origin", OURS)
def test_an_origin_of_the_list_is_named_exactly(policy, origin):
    """Never a star: the answer says which single origin may read it."""
    headers = dict(header_pairs(policy.lines(origin)))
    assert headers["Access-Control-Allow-Origin"] == origin


def test_what_a_frontend_reads_is_exposed(policy):
    """Without it a browser hides every header but the safe few."""
    exposed = dict(header_pairs(policy.lines(OURS[0])))["Access-Control-Expose-Headers"]
    assert {name.strip() for name in exposed.split(",")} == {
        "X-Cache", "X-Request-Id", "RateLimit", "RateLimit-Policy", "Retry-After",
        "Age", "ETag",
    }  # fmt: skip


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "*",
        "https://evil.example",
        "http://localhost:3001",
        "http://localhost",
        "https://localhost:3000",
        "http://localhost:3000/",
        "http://localhost:3000.evil.example",
        "HTTP://LOCALHOST:3000",
        "https://aims.example.evil.example",
        "https://sub.aims.example",
        "https://evilaims.example",
        "http://localhost:3000, https://aims.example",
    ],
)
def test_a_stranger_gets_nothing(policy, origin):
    """Nothing is reflected, nothing matched by its beginning or end."""
    assert policy.lines(origin) == ""
    assert policy.preflight(origin, METHODS) == ()


@given(st.text(max_size=40) | st.sampled_from(OURS))
def test_permission_is_membership(origin):
    """Any text gets headers if and only if it is on the list."""
    assert bool(CorsPolicy(OURS).lines(origin)) == (origin in OURS)


def test_a_preflight_names_methods_and_headers(policy):
    """It has the endpoint's methods and every header of the contract."""
    headers = dict(policy.preflight(OURS[1], METHODS))
    assert headers["Access-Control-Allow-Origin"] == OURS[1]
    assert headers["Access-Control-Allow-Methods"] == "GET, POST"
    allowed = headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {
        "authorization", "content-type", "cache-control", "if-none-match",
        "x-request-id",
    } <= set(allowed)  # fmt: skip
    assert int(headers["Access-Control-Max-Age"]) > 0


def test_credentials_are_never_allowed(policy):
    """Tokens travel in a header, so no site can ride on a browser's cookies."""
    names = {name for name, _ in policy.preflight(OURS[0], METHODS)}
    assert "Access-Control-Allow-Credentials" not in names
