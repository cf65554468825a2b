"""Owns in which fields an answer of the platform has its message."""

from typing import Any, Final

import msgspec
from msgspec import Struct

from .json_body import utf8
from .oddities import ignore_oddity

__all__ = ["MessageFields", "is_answer", "read_fields", "text_of", "words_in"]

_MOST_ERRORS: Final = 10


class MessageFields(Struct, frozen=True):
    """The fields that clients of such platforms read a message from."""

    msg: object = None
    message: object = None
    error: object = None
    errors: object = None
    response: object = None
    status: object = None
    data: object = None  # rows, in an unusual envelope

    def texts(self) -> list[str]:
        """The texts of all fields but ``status`` and ``data``."""
        fields = (self.msg, self.message, self.error, self.errors, self.response)
        return [text for field in fields for text in words_in(field)]


# Any other JSON too: a text that only begins like it ("401 Unauthorized") is then read
# to its end, and is found to be none.
_ANSWER: Final = msgspec.json.Decoder(
    MessageFields | list[Any] | str | float | bool | None, float_hook=float
)


def is_answer(body: bytes) -> bool:
    """Whether the platform's program may have written this: any JSON (PHP writes `[]`
    for an object without fields), or an empty body.
    """
    return not utf8(body, ignore_oddity).strip() or read_fields(body) is not None


def text_of(body: bytes) -> str | None:
    """Return the message of a JSON answer, None if it has none."""
    answer = read_fields(body)
    return None if answer is None else next(iter(answer.texts()), None)


def read_fields(body: bytes) -> MessageFields | None:
    """The fields of a JSON answer; None if it is no JSON, none set if no object."""
    try:
        answer = _ANSWER.decode(utf8(body, ignore_oddity))
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, MessageFields) else MessageFields()


def words_in(field: object) -> list[str]:
    """The texts in a field: a text, a list of texts, or an object with a message."""
    items = field[:_MOST_ERRORS] if isinstance(field, list) else [field]
    texts = []
    for item in items:
        text = item
        if isinstance(item, dict):
            text = item.get("message") or item.get("msg")
        if isinstance(text, str) and text.strip():
            texts.append(text)
    return texts
