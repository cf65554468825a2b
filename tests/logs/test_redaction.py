"""Secrets, in whatever form, are in no line."""

import pytest

from aims_server.logs.access_log import AccessLog

from .lines import FIELDS, SECRET, TOKEN, fail, log, objects

TELLING = {
    "jwt": (TOKEN, TOKEN),
    "jwt in a path": (f"/api/quiz/{TOKEN}/x", TOKEN),
    "first part of a jwt": (f"key {TOKEN[:36]}", TOKEN[:36]),
    "bearer": (f"Authorization: Bearer {SECRET}", SECRET),
    "bearer in capitals": (f"BEARER   {SECRET}", SECRET),
    "token in a query": (f"GET /cards?a=1&token={SECRET}&b=2", SECRET),
    "encoded query": (f"u=%2Fcards%3Ftoken%3D{SECRET}", SECRET),
    "access token": (f"access_token={SECRET}", SECRET),
    "pin": (f"?pin={SECRET}", SECRET),
    "password in a form": (f"username=2023B1510001&password={SECRET}", SECRET),
    "password with a quote": (f"password=a\"b'{SECRET}", SECRET),
    "JSON body": (f'{{"username":"x","password":"a \\" {SECRET}"}}', SECRET),
    "repr of a dict": (f"{{'token': '{SECRET}', 'pin': 1}}", SECRET),
    "repr of bytes": (f"{{'password': b'{SECRET}'}}", SECRET),
}


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(("told", "secret"), TELLING.values(), ids=TELLING)
def test_secrets_are_scrubbed_wherever_they_stand(written, form, told, secret):
    """The last net, at DEBUG: message, argument, extra fields, traceback, access."""
    lines = written(form)
    log.debug(told)
    log.debug("%s", told)
    log.debug("x", extra={"field": told, "deep": {"list": [told, told.encode()]}})
    try:
        fail(told)
    except ValueError:
        log.debug("x", exc_info=True)
    access = AccessLog()
    for name in ("path", "method", "request_id"):
        access.write(**{**FIELDS, name: told})
    text = b"\n".join(lines()).decode()
    assert secret not in text
    assert text.count("***") >= 7
    if form == "json":
        assert len(objects(lines())) == 7


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_end_of_a_secret_is_left_where_a_traceback_is_cut(written, form):
    """What tells that it is one stands before it."""
    lines = written(form)
    try:
        fail(f"?token={SECRET * 1000}&then={'y' * 4000}")
    except ValueError:
        log.exception("x")
    text = b"\n".join(lines()).decode()
    assert SECRET not in text
    assert "yyy" in text


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_field_named_like_a_secret_is_not_told(written, form):
    """The name of a field is enough, at any depth."""
    lines = written(form)
    log.info("x", extra={"token": SECRET, "body": {"pin": 4821, "username": "u"}})
    text = b"\n".join(lines()).decode()
    assert SECRET not in text
    assert "4821" not in text
    assert '"username":"u"' in text


def test_what_is_no_secret_stays(written):
    """The net has holes of the right size."""
    lines = written()
    harmless = [
        "the platform refused the token",
        "mapping: 3, opening=4, shipping=5",
        "GET /api/quiz?cfId=7300002&subject=Web%20Technology",
        "pinned to 3 spinning pins",
    ]
    for message in harmless:
        log.info("%s", message)
    assert [entry["message"] for entry in objects(lines())] == harmless
