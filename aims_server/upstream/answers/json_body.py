"""A body as JSON: its bytes as UTF-8, an object of any content, an error for others."""

import re
from typing import Any, Final

import msgspec

from .oddities import Note

__all__ = ["BadShape", "any_object", "utf8"]

# Each of PHP's files may send one, and what stands before it.
_BYTE_ORDER_MARKS: Final = rb"(?:[ \t\r\n]*\xef\xbb\xbf)+"
_BACKSLASH: Final = ord("\\")
# A pair stands for one character; its halves alone for none, and msgspec refuses them.
_ESCAPE: Final = (
    rb"\\u[Dd][89ABab]..\\u[Dd][C-Fc-f].."
    rb"|(?P<half>\\u[Dd][89A-Fa-f][0-9A-Fa-f]{2})"
    rb"|\\."
)
# A number that no float can hold is infinite, as in a browser, instead of an error.
_OBJECT: Final = msgspec.json.Decoder(float_hook=float)


class BadShape(ValueError):
    """The platform sent something other than what it is known to send.

    The text says what and where, and quotes no value, so it may be logged.
    """


def any_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object of any content; raises BadShape for all else."""
    try:
        answer = _OBJECT.decode(body)
    except (ValueError, RecursionError) as exc:
        fault = _described(exc)
    else:
        if isinstance(answer, dict):
            return answer
        fault = f"a {type(answer).__name__} where an object belongs"
    raise BadShape(fault)


def utf8(body: bytes, note: Note) -> bytes:
    """Return the body without a byte order mark, and U+FFFD for what is not UTF-8 and
    for escaped halves of surrogate pairs, of which RFC 8259 8.2 warns: a text that was
    cut within an emoji ends in one.
    """
    if not body.isascii():
        marks = re.match(_BYTE_ORDER_MARKS, body)
        if marks:
            note("encoding", "a byte order mark")
            body = body[marks.end() :]
        try:
            body.decode()  # msgspec does not look into the text of fields it skips
        except UnicodeDecodeError as exc:
            note("encoding", f"not UTF-8 at byte {exc.start}")
            body = body.decode("utf-8", "replace").encode()
    # The search for one byte takes a twentieth of the expression's time, and many lists
    # have none; two searches, for either case of the D, take four times as long as it.
    if _BACKSLASH in body and re.search(rb"\\u[Dd]", body):
        whole = re.sub(_ESCAPE, _without_half, body)
        if whole != body:
            note("encoding", "half of a surrogate pair")
        body = whole
    return body


def _without_half(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escape["half"] else escape[0]


def _described(exc: Exception) -> str:
    return "nested too deep" if isinstance(exc, RecursionError) else "not JSON"
