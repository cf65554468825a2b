"""Records of logging as lines: their form, what cannot be forged, what is held back."""

import asyncio
import io
import json
import logging
import os
import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.logs.access_log import AccessLog
from aims_server.logs.handlers import configure_logging, current_request_id
from aims_server.logs.redaction import redact_text

from .lines import FIELDS, FORGED, NASTY, SECRET, check_lines, fail, log, objects


def test_a_line_is_an_object_of_time_level_logger_and_message(written):
    """The keys that every line has, in this order, and extra fields after them."""
    lines = written()
    log.info("%d of %s", 3, "x", extra={"worker": 2, "ratio": 0.5, "gone": None})
    (entry,) = objects(lines())
    assert list(entry)[:4] == ["time", "level", "logger", "message"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {
        "level": "info",
        "logger": "aims_server.test",
        "message": "3 of x",
        "worker": 2,
        "ratio": 0.5,
        "gone": None,
    }


def test_time_is_utc_to_the_millisecond(written):
    """A record's moment is told as RFC 3339, whatever the machine's zone."""
    lines = written()
    record = logging.makeLogRecord({"levelno": 20, "created": 1756720800.0625})
    logging.getLogger().handle(record)
    assert objects(lines())[0]["time"] == "2025-09-01T10:00:00.062Z"


def test_lines_bear_the_id_of_the_request_they_belong_to(written):
    """Two requests at once have their own id; outside there is none."""
    lines = written()

    async def request(name):
        current_request_id.set(name)
        await asyncio.sleep(0)
        log.info(name)

    async def both():
        await asyncio.gather(request("one"), request("two"))
        log.info("outside")

    asyncio.run(both())
    told = [(entry["message"], entry.get("requestId")) for entry in objects(lines())]
    assert told == [("one", "one"), ("two", "two"), ("outside", None)]


def test_an_extra_field_cannot_take_the_place_of_a_fixed_one(written):
    """Whoever passes `level` or `time` as an extra field changes nothing."""
    lines = written()
    log.info("x", extra={"level": "error", "time": "never", "logger": "other"})
    (entry,) = objects(lines())
    assert (entry["level"], entry["logger"]) == ("info", "aims_server.test")
    assert entry["time"] != "never"


def test_an_exception_is_one_field(written):
    """A traceback is text in its line, with causes and without local values."""
    lines = written()

    try:
        fail("inner\n" + FORGED)
    except ValueError:
        log.exception("it failed")
    (entry,) = objects(lines())
    assert entry["message"] == "it failed"
    assert "KeyError: 11\n" in entry["traceback"]
    assert "\nTraceback (most recent call last):\n" in entry["traceback"]
    assert "ValueError: inner\n" in entry["traceback"]
    assert "local-value" not in entry["traceback"]


def test_text_is_one_line_with_the_traceback_below_it(written):
    """On a terminal every event begins at the left, and only events do."""
    lines = written("text")
    current_request_id.set("")
    log.warning("slow", extra={"seconds": 0.5, "why": "no slot", "kind": "x"})
    try:
        fail(f"inner\n{FORGED}\x1b[2K")
    except ValueError:
        log.exception("it failed")
    first, second, *below = (line.decode() for line in lines())
    assert re.fullmatch(
        r'\S+Z WARNING aims_server\.test: slow seconds=0\.5 why="no slot" kind=x', first
    )
    assert re.fullmatch(r"\S+Z ERROR   aims_server\.test: it failed", second)
    assert "    Traceback (most recent call last):" in below
    assert all(line.startswith("    ") for line in below)
    assert "\\x1b[2K" in below[-1]


@pytest.mark.parametrize(("terminal", "start"), [(True, b"20"), (False, b"{")])
def test_auto_is_text_on_a_terminal_and_json_elsewhere(terminal, start):
    """`auto` asks the stream."""
    if terminal:
        reader, writer = os.openpty()
    else:
        reader, writer = os.pipe()
    with open(writer, "w") as stream, open(reader, "rb", buffering=0) as other_end:
        configure_logging("info", "auto", stream)
        log.info("hello")
        assert other_end.read(4096).startswith(start)


def test_to_configure_again_replaces_what_was(written):
    """No line is written twice after a reload of the settings."""
    first = io.StringIO()
    configure_logging("info", "json", first)
    lines = written("json", "warning")
    log.info("too low")
    log.warning("once")
    assert first.getvalue() == ""
    assert [entry["message"] for entry in objects(lines())] == ["once"]


def test_warnings_of_python_are_lines_too(written):
    """What `warnings` shows is in the log's form, not beside it."""
    lines = written()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old thing", stacklevel=1)
    (entry,) = objects(lines())
    assert entry["logger"] == "py.warnings"
    assert "old thing" in entry["message"]


@pytest.mark.parametrize(
    ("level", "name", "least"),
    [
        ("debug", "tornado.curl_httpclient", logging.INFO),
        ("debug", "asyncio", logging.WARNING),
        ("debug", "hpack", logging.WARNING),
        ("error", "asyncio", logging.ERROR),
        ("error", "tornado.curl_httpclient", logging.ERROR),
        ("debug", "aims_server.service", logging.DEBUG),
    ],
)
def test_loggers_that_tell_too_much_are_held_back(written, level, name, least):
    """Curl's DEBUG lines hold tokens; noise stays off whatever LOG_LEVEL says."""
    written("json", level)
    assert logging.getLogger(name).getEffectiveLevel() == least


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
def test_no_field_of_a_record_can_forge_a_line(written, form, nasty):
    """Message, argument, logger, extra value, extra key, request id: one line."""
    lines = written(form)
    current_request_id.set(nasty)
    log.info(nasty)
    log.info("%s", nasty)
    logging.getLogger("x").getChild(nasty).error("x")
    log.info("x", extra={"field": nasty})
    log.info("x", extra={f"f{nasty}": [nasty, {nasty: nasty}]})
    current_request_id.set("")
    found = lines()
    assert len(found) == 5
    check_lines(found, form)


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
def test_no_field_of_a_request_can_forge_an_access_line(written, form, nasty):
    """Neither each field by itself nor all together can."""
    lines = written(form)
    access = AccessLog()
    texts = ("route", "method", "path", "request_id", "address", "cache", "code")
    for name in texts:
        access.write(**{**FIELDS, name: nasty})
    access.write(**{**FIELDS, **dict.fromkeys(texts, nasty)})
    found = lines()
    assert len(found) == len(texts) + 1
    check_lines(found, form)


@given(st.text(st.characters(codec=None), max_size=80))
def test_any_message_comes_back_as_it_was(message):
    """JSON lines lose nothing that UTF-8 can say and that is no secret."""
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    log.info("%s", message)
    line = stream.getvalue()
    assert line.splitlines() == [line[:-1]]
    sayable = message.encode(errors="backslashreplace").decode()
    assert json.loads(line)["message"] == redact_text(sayable)


class Unspeakable:
    """Something that fails when it is shown."""

    def __str__(self):
        raise RuntimeError(SECRET)

    __repr__ = __str__


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_record_that_cannot_be_shown_still_gives_a_line(written, form, capfd):
    """Wrong arguments and broken objects raise nothing and print nothing elsewhere."""
    logging.getLogger().handlers.clear()  # pytest's would raise
    lines = written(form)
    log.info("%d", "no number")
    log.info("%s", Unspeakable())
    log.info("x", extra={"field": Unspeakable()})
    log.info("x", extra={"field": 10**5000})
    found = lines()
    assert len(found) == 4
    assert all(b"test_handlers.py:" in line for line in found)
    assert SECRET.encode() not in b"".join(found)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("form", ["json", "text"])
def test_extra_fields_may_be_of_any_type(written, form):
    """Objects are told as text, numbers JSON cannot say too, and rings end."""
    lines = written(form)
    ring: dict[str, object] = {}
    ring["self"] = ring
    knot: list[object] = []
    knot.append(knot)
    log.info(
        "x",
        extra={
            "big": 2**80,
            "nan": float("nan"),
            "path": io.UnsupportedOperation("no"),
            "set": {1},
            "ring": ring,
            "knot": knot,
            "bytes": b"\xff\n",
        },
    )
    (line,) = lines()
    if form == "json":
        (entry,) = objects([line])
        assert entry["big"] == 2**80
        assert entry["nan"] is None
        assert (entry["path"], entry["set"], entry["bytes"]) == ("no", [1], "\\xff\n")


def test_texts_of_a_record_are_bounded(written):
    """A line stays short, whatever somebody sends; of a traceback the end is kept."""
    lines = written()
    log.info("x" * 100_000, extra={"field": "y" * 100_000})
    try:
        fail("v" * 100_000)
    except ValueError:
        log.exception("w")
    assert max(map(len, lines())) < 20_000


@pytest.mark.parametrize(
    "said",
    [
        "Invalid header name 'canary '",
        "Invalid header value 'canary\\x01'",
        "Invalid Host header: 'canary x'",
        "Only integer Content-Length is allowed: canary",
        "Multiple unequal Content-Lengths: '1,canary'",
        "Unsupported Transfer-Encoding canary",
    ],
)
def test_what_stood_in_place_of_a_header_is_not_told(written, said):
    """Tornado quotes it, and it may be a token."""
    lines = written()
    logging.getLogger("tornado.general").info("Malformed HTTP message from x: %s", said)
    (line,) = lines()
    assert b"canary" not in line
    assert b"from x: " + said.split()[0].encode() in line
