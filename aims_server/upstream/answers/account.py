"""Logins and quizzes, which are passed on as they are: finds out whose they are."""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from .fields import Scalar, one_line, whole
from .json_body import BadShape, any_object, utf8
from .models import LoginBody, Quizzes, only_student
from .oddities import Note, ignore_oddity
from .rows import MOST_ROWS, Envelope, find_rows, loose

__all__ = ["decode_quizzes", "read_login"]


class Quiz(Struct, frozen=True, gc=False):
    """The fields of an evaluated quiz that identify the student."""

    admission_number: Scalar = None
    # Fields of other lists' rows, one of which may come in place of quizzes.
    student_id: Scalar = None
    fk_student: Scalar = None


class LoginStudent(Struct, frozen=True, gc=False):
    """The fields of a login's `response` that identify the student."""

    id: Scalar = None
    username: Scalar = None


class Login(Struct, frozen=True):
    """An answer to a login; a token that is no text counts as none."""

    token: object = None
    response: object = None


_NAMES: Final = frozenset(Quiz.__struct_fields__)
_NOBODYS: Final = Quiz()
_MOST_OBJECTS: Final = 2 * MOST_ROWS
_QUIZZES: Final = msgspec.json.Decoder(Envelope[Quiz])
_LARGEST_LOGIN: Final = 64 * 1024  # some 600 are usual; of 8 MiB the loop had 1 s
_LOGIN: Final = msgspec.json.Decoder(Login, float_hook=float)


def decode_quizzes(body: bytes, note: Note = ignore_oddity) -> Quizzes:
    """Read whose quizzes `/custom/myEvaluatedQuizzes` has; the body is passed on.

    Raises BadShape for a body that is no JSON object, for too long a list, and for the
    quizzes of two students.
    """
    body = utf8(body, note)
    try:
        rows: list[Any] = _QUIZZES.decode(body).response.data
    except (ValueError, RecursionError):
        rows = []
    if all(row == _NOBODYS for row in rows):  # whose it is may stand elsewhere
        rows = _loose_quizzes(any_object(body))
    numbers = {_admission_number(row.admission_number) for row in rows} - {None}
    if len(numbers) > 1:
        raise BadShape("quizzes of more than one student")
    named = (value for row in rows for value in (row.student_id, row.fk_student))
    return Quizzes(
        body,
        admission_number=numbers.pop() if numbers else None,
        student_id=only_student(named),
        is_empty=not rows,
    )


def _admission_number(value: Scalar) -> str | None:
    """An admission number; None for 0 and a text without a digit ("-", "NA")."""
    text = one_line(value).upper()
    return text if re.search("[1-9]", text) else None


def read_login(body: bytes) -> LoginBody:
    """Read an answer to a login, on the event loop. Raises BadShape if it is no JSON
    object of at most 64 KiB.
    """
    if len(body) > _LARGEST_LOGIN:
        raise BadShape(f"an answer to a login of {len(body)} bytes")
    body = utf8(body, ignore_oddity)
    try:
        login = _LOGIN.decode(body)
    except (ValueError, RecursionError):
        raise BadShape("an answer to a login that is no object") from None
    token, student = login.token, LoginStudent()
    if isinstance(login.response, dict):
        student = loose(login.response, LoginStudent, ignore_oddity)
    return LoginBody(
        body=body,
        token=token if isinstance(token, str) and token.strip() else None,
        student_id=whole(student.id) or None,  # 0 is a database's default
        admission_number=_admission_number(student.username),
    )


def _loose_quizzes(answer: dict[str, Any]) -> list[Quiz]:
    data, _ = find_rows(answer)
    named = [each for each in _objects(answer) if not _NAMES.isdisjoint(each)]
    if named:
        return [loose(each, Quiz, ignore_oddity) for each in named]
    has_rows = isinstance(data, list) and any(isinstance(row, dict) for row in data)
    return [_NOBODYS] if has_rows else []


def _objects(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The answer and every object in it, since all of it is passed on. Raises BadShape
    if objects and lists are many more than a list may have rows.
    """
    waiting: list[Any] = [answer]
    for _ in range(_MOST_OBJECTS):
        if not waiting:
            return
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            each = each.values()
        waiting += [item for item in each if isinstance(item, dict | list)]
    raise BadShape(f"more than {_MOST_OBJECTS} objects")
