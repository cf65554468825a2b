"""Reads a body as JSON: its bytes as UTF-8, then an object of any content."""

import re
from typing import Any, Final

import msgspec

from .oddities import Note

__all__ = ["BadShape", "any_object", "utf8"]

# Each PHP file may send one, and blanks before it.
_BYTE_ORDER_MARKS: Final = rb"(?:[ \t\r\n]*\xef\xbb\xbf)+"
_BACKSLASH: Final = ord("\\")
# A pair is one character; msgspec rejects a half without the other.
_ESCAPE: Final = (
    rb"\\u[Dd][89ABab]..\\u[Dd][C-Fc-f].."
    rb"|(?P<half>\\u[Dd][89A-Fa-f][0-9A-Fa-f]{2})"
    rb"|\\."
)
# A number too large for a float is infinite, as in a browser, and no error.
_OBJECT: Final = msgspec.json.Decoder(float_hook=float)


class BadShape(ValueError):
    """The platform sent something else than it is known to send.

    The text says what and where. It quotes no value, so it may be logged.
    """


def any_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object of any content; raises BadShape for all else."""
    try:
        answer = _OBJECT.decode(body)
    except (ValueError, RecursionError) as exc:
        fault = "nested too deep" if isinstance(exc, RecursionError) else "not JSON"
    else:
        if isinstance(answer, dict):
            return answer
        fault = f"a {type(answer).__name__} where an object belongs"
    raise BadShape(fault)


def utf8(body: bytes, note: Note) -> bytes:
    """Return the body without a byte order mark. U+FFFD replaces bytes that are not
    UTF-8 and escaped halves of surrogate pairs (RFC 8259 8.2): a text cut within an
    emoji ends in one.
    """
    if not body.isascii():
        marks = re.match(_BYTE_ORDER_MARKS, body)
        if marks:
            note("encoding", "a byte order mark")
            body = body[marks.end() :]
        try:
            body.decode()  # msgspec does not check the text of fields it skips
        except UnicodeDecodeError as exc:
            note("encoding", f"not UTF-8 at byte {exc.start}")
            body = body.decode("utf-8", "replace").encode()
    # Searching for one byte takes a twentieth of the expression's time, and many lists
    # have none. Two searches, for "d" and "D", would take four times as long as it.
    if _BACKSLASH in body and re.search(rb"\\u[Dd]", body):
        whole = re.sub(_ESCAPE, _without_half, body)
        if whole != body:
            note("encoding", "half of a surrogate pair")
        body = whole
    return body


def _without_half(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escape["half"] else escape[0]
