"""The tree of failures: what a client is told, and that nothing else gets in."""

import inspect
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server import errors
from aims_server.errors import (
    ApiError,
    MethodNotAllowed,
    RateLimited,
    TokenRefused,
    Unauthorized,
    UpstreamBusy,
    UpstreamError,
    UpstreamUnavailable,
    retry_after_header,
)
from aims_server.web import error_response

CONTRACT = {  # docs/contract.rst 2.4
    "invalid_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "too_large": {413, 414, 431},
    "unsupported_media_type": 415,
    "rate_limited": 429,
    "internal_error": 500,
    "upstream_error": 502,
    "overloaded": 503,
    "upstream_unavailable": 503,
    "upstream_timeout": 504,
}
TREE = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ApiError)
]


def failure_of(kind: type[ApiError]) -> ApiError:
    """One of this kind, made as its users make it."""
    if kind is MethodNotAllowed:
        return MethodNotAllowed(("GET", "OPTIONS"))
    if kind is RateLimited:
        return RateLimited("student", 1.5)
    return kind()


@pytest.mark.parametrize("kind", TREE)
def test_every_failure_stands_in_the_contract(kind):
    """Its code is one of the stable ones, its status the one that goes with it."""
    statuses = CONTRACT[kind.code]
    assert kind.status in (statuses if isinstance(statuses, set) else {statuses})


def test_every_code_of_the_contract_is_there():
    """No code that a frontend waits for has been lost."""
    assert {kind.code for kind in TREE} == CONTRACT.keys()


def test_the_tree_is_drawn_as_it_is():
    """The module's picture names every class with its status."""
    drawn = re.findall(r"([A-Z]\w+) (\d{3})", inspect.getdoc(errors) or "")
    assert dict(drawn) == {
        kind.__name__: str(kind.status) for kind in TREE if kind is not ApiError
    }


@pytest.mark.parametrize("kind", TREE)
def test_a_failure_says_a_sentence(kind):
    """Fit for a student's screen: one sentence, no jargon of ours."""
    sentence = failure_of(kind).message
    assert sentence.endswith(".")
    assert sentence[0].isupper()
    assert "Error" not in sentence


@pytest.mark.parametrize("kind", TREE)
def test_the_body_has_the_fields_of_the_contract(kind):
    """`error` and `message` alike, the code, the request's id, the time."""
    failure = failure_of(kind)
    body = json.loads(error_response(failure, "an-id").body)
    assert list(body) == ["error", "message", "code", "requestId", "timestamp"]
    assert body["error"] == body["message"] == failure.message
    assert body["code"] == kind.code
    assert body["requestId"] == "an-id"
    assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}Z", body["timestamp"])
    age = datetime.now(UTC) - datetime.fromisoformat(body["timestamp"])
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_the_platforms_fields_stand_before_ours():
    """A frontend of the platform's own finds its sentence where it was."""
    answer = error_response(ApiError("No."), "id", beside=b'{"msg":"Wrong."}')
    told = json.loads(answer.body)
    assert list(told) == ["msg", "error", "message", "code", "requestId", "timestamp"]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_a_body_is_json_whatever_is_said(sentence):
    """Quotes, control characters and other scripts are escaped."""
    answer = error_response(ApiError(sentence), "id")
    assert json.loads(answer.body)["message"] == sentence


def test_a_401_names_the_scheme():
    """RFC 9110 11.6.1, for both kinds."""
    for kind in (Unauthorized, TokenRefused):
        assert ("WWW-Authenticate", "Bearer") in kind().headers()


def test_a_405_lists_what_is_allowed():
    """The header ``Allow`` has the methods (RFC 9110 15.5.6)."""
    headers = MethodNotAllowed(("GET", "POST")).headers()
    assert headers == [("Allow", "GET, POST")]


@pytest.mark.parametrize("kind", TREE)
def test_a_known_wait_is_told(kind):
    """Retry-After has it in whole seconds, whatever the failure."""
    failure = failure_of(kind)
    failure.retry_after = 7
    assert ("Retry-After", "7") in failure.headers()


@pytest.mark.parametrize("kind", [kind for kind in TREE if kind is not RateLimited])
def test_an_unknown_wait_is_told_with_503_only(kind):
    """There the contract promises one, so it is the shortest; elsewhere none is
    better than an invented one.
    """
    told = dict(failure_of(kind).headers()).get("Retry-After")
    assert told == ("1" if kind.status == 503 else None)


@given(st.floats(0, 1e9))
def test_retry_after_is_whole_seconds_and_never_too_early(seconds):
    """At least 1, and no earlier than the wait is over."""
    text = retry_after_header(seconds)
    assert text.isdigit()
    assert seconds <= int(text) <= max(1, seconds + 1)


def test_what_a_caller_can_do_decides_the_branch():
    """A refused token is one kind of unauthorized; a busy platform one that is not
    available; all that is the platform's fault has one root.
    """
    assert issubclass(TokenRefused, Unauthorized)
    assert issubclass(UpstreamBusy, UpstreamUnavailable)
    assert not issubclass(TokenRefused, UpstreamError)
    assert all(issubclass(kind, UpstreamError) == (kind.status > 500) for kind in TREE)
