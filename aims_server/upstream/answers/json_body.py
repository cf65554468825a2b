"""A body as JSON: its bytes as UTF-8, an object of any content, an error for others."""

from typing import Any, Final

import msgspec

from .oddities import Note

__all__ = ["BadShape", "any_object", "utf8"]

_BOM: Final = b"\xef\xbb\xbf"


class BadShape(ValueError):
    """The platform sent something other than what it is known to send.

    The text says what and where, and quotes no value, so it may be logged.
    """


def any_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object of any content; raises BadShape for all else."""
    try:
        answer = msgspec.json.decode(body)
    except (ValueError, RecursionError) as exc:
        fault = _described(exc)
    else:
        if isinstance(answer, dict):
            return answer
        fault = f"a {type(answer).__name__} where an object belongs"
    raise BadShape(fault)


def utf8(body: bytes, note: Note) -> bytes:
    """Return the body without a byte order mark, what is not UTF-8 as U+FFFD."""
    if body.startswith(_BOM):
        note("encoding", "a byte order mark")
        body = body[len(_BOM) :]
    try:
        body.decode()  # msgspec does not look into the text of fields it skips
    except UnicodeDecodeError as exc:
        note("encoding", f"not UTF-8 at byte {exc.start}")
        return body.decode("utf-8", "replace").encode()
    return body


def _described(exc: Exception) -> str:
    return "nested too deep" if isinstance(exc, RecursionError) else "not JSON"
