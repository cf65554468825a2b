"""What is logged in the tests of log lines, and how written lines are read."""

import json
import logging
import re
from typing import Any

from aims_server.logs.format import UNPRINTABLE

TOKEN = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpZCI6NTkwMDAwMX0.c2lnbmF0dXJl-_Q"
SECRET = "s3cr3t-canary"


FORGED = '{"time":"2025-01-01T00:00:00.000Z","level":"error","message":"forged"}'


NASTY = {
    "carriage return": f"a\r{FORGED}",
    "line feed": f"a\n{FORGED}\nb",
    "both": f"a\r\n{FORGED}\r\n",
    "NUL": "a\0b",
    "encoded": "a%0a%0d%00",
    "escape sequence": "\x1b[2K\x1b[1A\x1b]0;title\x07",
    "delete": "a\x7fb",
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


def objects(lines):
    """Each line as the JSON object that it must be, for any way of splitting lines."""
    text = b"".join(line + b"\n" for line in lines).decode()
    assert text.splitlines() == [line.decode() for line in lines]
    parsed = [json.loads(line) for line in lines]
    assert all(isinstance(entry, dict) for entry in parsed)
    return parsed


def check_lines(lines, form):
    """Nothing but whole lines without any character that moves a cursor."""
    if form == "json":
        assert all(entry["message"] != "forged" for entry in objects(lines))
    for line in lines:
        text = line.decode()
        assert not re.search(UNPRINTABLE, text)
        assert text.startswith("{" if form == "json" else "20")
