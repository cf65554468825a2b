"""Log lines: their form, their secrets, and streams that fail."""

import asyncio
import contextlib
import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.logs import handlers as logs
from aims_server.logs.access_line import access_fields, access_lines
from aims_server.logs.format import UNPRINTABLE, LineWriter, json_line
from aims_server.logs.handlers import (
    AccessLog,
    configure_logging,
    current_request_id,
)
from aims_server.logs.output import LogOutput
from aims_server.logs.redaction import redact_text

TOKEN = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpZCI6NTkwMDAwMX0.c2lnbmF0dXJl-_Q"
FORGED = '{"time":"2025-01-01T00:00:00.000Z","level":"error","message":"forged"}'
NASTY = {
    "carriage return": f"a\r{FORGED}",
    "line feed": f"a\n{FORGED}\nb",
    "both": f"a\r\n{FORGED}\r\n",
    "NUL": "a\0b",
    "encoded": "a%0a%0d%00",
    "escape sequence": "\x1b[2K\x1b[1A\x1b]0;title\x07",
    "C1 controls": "\x85\x9b31m\x9d",
    "line and paragraph separator": f"a\u2028{FORGED}\u2029",
    "right to left": "\u202egnp.exe\u2066",
    "quotes": '","level":"error","x":\'\\',
    "10 KB": "x" * 10_240,
    "10 KB of line feeds": "\n" * 10_240,
    "half a surrogate pair": "a\ud800b\udfff",
    "bytes that were no UTF-8": b"\xff\xfe\n".decode(errors="surrogateescape"),
    "other script": "उपस्थिति 🎓",
}
FIELDS: dict[str, Any] = {
    "route": "quiz",
    "method": "GET",
    "path": "/api/quiz",
    "status": 200,
    "seconds": 0.0123456,
    "request_id": "abc-1",
    "address": "192.0.2.7",
}
log = logging.getLogger("aims_server.test")


def fail(message):
    """Something unexpected."""
    kept_locally = "local-" + "value"
    raise ValueError(message) from KeyError(len(kept_locally))


@pytest.fixture(autouse=True)
def restored():
    """Logging as it was before the test."""
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in logs._MIN_LEVELS)]
    levels = [(logger, logger.level) for logger in loggers]
    handlers = root.handlers[:]
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    for logger, level in levels:
        logger.setLevel(level)


@pytest.fixture
def written(tmp_path):
    """Configures logging to a file; then tells its lines as bytes."""
    path = tmp_path / "log"

    with path.open("w") as stream:

        def configure(form="json", level="debug"):
            configure_logging(level, form, stream)
            return lambda: path.read_bytes().split(b"\n")[:-1]

        yield configure


def objects(lines):
    """Each line as the JSON object that it must be, for any way of splitting lines."""
    text = b"".join(line + b"\n" for line in lines).decode()
    assert text.splitlines() == [line.decode() for line in lines]
    parsed = [json.loads(line) for line in lines]
    assert all(isinstance(entry, dict) for entry in parsed)
    return parsed


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


def test_a_stream_in_memory_will_do():
    """A stream without a file number is written to like any other."""
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    log.info("x")
    assert json.loads(stream.getvalue())["message"] == "x"


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
    """Each field in turn, and all at once."""
    lines = written(form)
    access = AccessLog()
    texts = ("route", "method", "path", "request_id", "address", "cache", "code")
    for name in texts:
        access.write(**{**FIELDS, name: nasty})
    access.write(**{**FIELDS, **dict.fromkeys(texts, nasty)})
    found = lines()
    assert len(found) == len(texts) + 1
    check_lines(found, form)


def check_lines(lines, form):
    """Nothing but whole lines without any character that moves a cursor."""
    if form == "json":
        assert all(entry["message"] != "forged" for entry in objects(lines))
    for line in lines:
        text = line.decode()
        assert not UNPRINTABLE.search(text)
        assert text.startswith("{" if form == "json" else "20")


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


SECRET = "s3cr3t-canary"
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
    log.info(
        "x",
        extra={
            "big": 2**80,
            "nan": float("nan"),
            "path": io.UnsupportedOperation("no"),
            "set": {1},
            "ring": ring,
            "bytes": b"\xff\n",
        },
    )
    (line,) = lines()
    if form == "json":
        (entry,) = objects([line])
        assert entry["big"] == 2**80
        assert entry["nan"] is None
        assert (entry["path"], entry["set"], entry["bytes"]) == ("no", [1], "\\xff\n")


def test_an_access_line_tells_route_status_times_and_outcome(written):
    """One object with all of a request's figures."""
    lines = written()
    AccessLog().write(
        **{**FIELDS, "status": 504},
        cache="MISS",
        upstream_seconds=0.01,
        code="upstream_timeout",
    )
    (entry,) = objects(lines())
    assert re.fullmatch(r"20\S+Z", entry.pop("time"))
    assert entry == {
        "level": "warning",
        "logger": "aims_server.access",
        "message": "GET /api/quiz 504",
        "requestId": "abc-1",
        "route": "quiz",
        "method": "GET",
        "path": "/api/quiz",
        "status": 504,
        "seconds": 0.012346,
        "address": "192.0.2.7",
        "cache": "MISS",
        "upstreamSeconds": 0.01,
        "code": "upstream_timeout",
    }


def test_an_access_line_as_text_says_nothing_twice(written):
    """On a terminal the message tells method, path and status, the rest follows."""
    lines = written("text")
    AccessLog().write(**FIELDS, cache="HIT")
    (line,) = lines()
    assert line.decode().partition(" ")[2] == (
        "INFO    aims_server.access: GET /api/quiz 200 requestId=abc-1 route=quiz "
        "seconds=0.012346 address=192.0.2.7 cache=HIT"
    )


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("debug", [200, 503, 200]),
        ("info", [200, 503]),
        ("warning", [503]),
        ("error", []),
    ],
)
def test_the_level_decides_which_requests_are_told(written, level, told):
    """Success at INFO, failures of the service at WARNING, quiet ones at DEBUG."""
    lines = written("json", level)
    access = AccessLog()
    access.write(**FIELDS)
    access.write(**{**FIELDS, "status": 503})
    access.write(**FIELDS, quiet=True)
    assert [entry["status"] for entry in objects(lines())] == told


def test_without_configuration_nothing_is_told(capfd):
    """A test's application is silent."""
    AccessLog().write(**FIELDS)
    assert capfd.readouterr() == ("", "")


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


def test_a_long_path_is_cut():
    """A line stays short enough to be written to a pipe in one piece."""
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    AccessLog().write(**{**FIELDS, "path": "/" + "\n" * 60_000})
    assert len(stream.getvalue()) < 8192
    assert json.loads(stream.getvalue())["path"] == "/" + "\n" * 511


def tell_twice():
    """An access line and a record, as a request writes them."""
    AccessLog().write(**FIELDS)
    log.error("x")


def test_a_closed_pipe_raises_nothing(capfd):
    """Nobody reads any more: requests go on."""
    reader, writer = os.pipe()
    with open(writer, "w") as stream:
        configure_logging("info", "json", stream)
        os.close(reader)
        tell_twice()
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_raises_nothing(capfd):
    """/dev/full refuses every byte: requests go on."""
    with open("/dev/full", "w") as stream:
        configure_logging("info", "json", stream)
        tell_twice()
    assert capfd.readouterr() == ("", "")


def test_a_closed_stream_is_never_written_to(tmp_path):
    """Its number may belong to a client's socket by now."""
    stream = (tmp_path / "log").open("w")
    configure_logging("info", "json", stream)
    number = stream.fileno()
    stream.close()
    with (tmp_path / "other").open("w") as other:
        assert other.fileno() == number
        tell_twice()
    assert (tmp_path / "other").read_bytes() == b""


@pytest.fixture(name="pipe")
def _pipe():
    """A reader that may be waited for, and the stream that leads to it."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(writer, "w") as stream:
        yield reader, stream
    os.close(reader)


def everything(reader):
    """What is in a pipe."""
    found = b""
    with contextlib.suppress(BlockingIOError):
        while more := os.read(reader, 1_000_000):
            found += more
    return found


def test_a_full_pipe_costs_lines_and_no_time(pipe):
    """Lines are kept up to a bound, then lost, counted, and told later."""
    reader, stream = pipe
    configure_logging("info", "json", stream)
    access = AccessLog()
    for number in range(6000):
        access.write(**{**FIELDS, "request_id": f"r{number}"})
    lost = access.lost_lines
    assert 3000 < lost < 6000
    found = everything(reader)
    for _ in range(8):
        access.flush()
        found += everything(reader)
    log.error("written again")
    found += everything(reader)
    *kept, told, last = objects(found.split(b"\n")[:-1])
    assert [line["requestId"] for line in kept] == [f"r{n}" for n in range(6000 - lost)]
    assert told["message"].startswith(f"{lost} log lines were lost: the log took none")
    assert last["message"] == "written again"
    assert access.lost_lines == lost


def test_a_full_pipe_leaves_the_streams_own_mode_alone(pipe):
    """The open file may be the shell's too: it must not begin to refuse writes."""
    _, stream = pipe
    configure_logging("info", "json", stream)
    assert os.get_blocking(stream.fileno())


def test_a_socket_is_never_waited_for():
    """As with a pipe, when the journal at the other end hangs."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("w") as stream:
        configure_logging("info", "json", stream)
        access = AccessLog()
        for _ in range(6000):
            access.write(**FIELDS)
        assert access.lost_lines > 0


def test_a_line_longer_than_a_pipe_takes_arrives_whole(pipe):
    """What was not taken follows when there is room."""
    reader, stream = pipe
    lines = LineWriter(LogOutput(stream), as_text=False)
    lines.write({"message": "x" * 200_000})
    found = everything(reader)
    assert not found.endswith(b"\n")
    for _ in range(4):
        lines.flush()
        found += everything(reader)
    assert json.loads(found)["message"] == "x" * 200_000


def test_replaced_outputs_are_closed(tmp_path):
    """No descriptor is left behind."""
    with (tmp_path / "log").open("w") as stream:
        configure_logging("info", "json", stream)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            configure_logging("info", "json", stream)
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_journal_is_told_the_priority_of_each_line(written, form, tmp_path):
    """sd-daemon(3)'s prefix, on each line of a traceback too; nowhere else."""
    path = tmp_path / "journal"
    with path.open("w") as stream:
        status = os.fstat(stream.fileno())
        configure_logging(
            "debug", form, stream, journal_stream=f"{status.st_dev}:{status.st_ino}"
        )
        log.debug("x")
        log.info("x")
        log.warning("x")
        log.critical("x")
        try:
            fail("x")
        except ValueError:
            log.exception("x")
    lines = path.read_text().splitlines()
    assert [line[:3] for line in lines[:4]] == ["<7>", "<6>", "<4>", "<2>"]
    assert {line[:3] for line in lines[4:]} == {"<3>"}
    assert len(lines) > 6 or form == "json"
    told = written(form)
    log.error("x")
    assert told()[0][:1] != b"<"


@pytest.mark.process
def test_lines_of_several_processes_do_not_mix(tmp_path):
    """Workers share one stream, and each line arrives whole."""
    path = tmp_path / "log"
    program = (
        "import sys, logging; from aims_server.logs import *\n"
        "configure_logging('info', 'json'); access = AccessLog()\n"
        f"fields = {FIELDS!r}\n"
        "for n in range(300):\n"
        "    access.write(**fields, code='x' * 3000); logging.error('y' * 9000)"
    )
    with path.open("ab") as stream:
        running = [
            subprocess.Popen([sys.executable, "-c", program], stderr=stream)
            for _ in range(2)
        ]
        assert [process.wait() for process in running] == [0, 0]
    assert len(objects(path.read_bytes().split(b"\n")[:-1])) == 1200


# Lines that wait for the end of a turn.


def test_lines_that_wait_go_out_together_and_in_order(written):
    """One call in a moment was asked for; a record made meanwhile does not overtake."""
    lines = written()
    due: list[Callable[[], None]] = []
    access = AccessLog(due.append)
    for number in range(3):
        access.write(**{**FIELDS, "request_id": f"r{number}"})
    assert lines() == []
    assert len(due) == 1
    logging.getLogger("x").warning("meanwhile")
    told = objects(lines())
    assert [line.get("requestId") for line in told] == ["r0", "r1", "r2", None]
    due.pop()()  # finds nothing left
    assert len(lines()) == 4


def test_a_bounded_number_of_lines_waits(written):
    """256 go out at once: to format a thousand would hold the loop."""
    lines = written()
    access = AccessLog(lambda _: None)
    for _ in range(255):
        access.write(**FIELDS)
    assert lines() == []
    for _ in range(45):
        access.write(**FIELDS)
    assert len(lines()) == 256
    access.flush()
    assert len(lines()) == 300


@given(
    st.sampled_from(["9f86d081884c7d65", "0" * 64, "eyJ", 'a"b', "r\n", "ä"]),
    st.sampled_from(["203.0.113.7", "2001:db8::1", "unix", "fe80::1%eth0", '"']),
    st.sampled_from([None, "HIT"]),
    st.sampled_from([None, 0.5]),
)
def test_both_ways_to_a_line_tell_the_same(request_id, address, cache, upstream):
    """Put together or encoded as a whole, an entry has the same fields."""
    kind = (logging.INFO, "quiz", "GET", "/api/quiz?token=a", 200, cache, None)
    common = (1756720800.5, 0.000023, "9f86", "203.0.113.7", None, kind)
    entry = (1756720800.501, 0.5, request_id, address, upstream, kind)
    for entries in ([entry], [common, entry], [entry, common]):
        encoded = [json_line(*access_fields(each)) for each in entries]
        assert objects(access_lines(entries).split(b"\n")[:-1]) == [
            json.loads(line) for line in encoded
        ]
