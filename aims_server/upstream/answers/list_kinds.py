"""Tells the platform's lists apart by a field that only rows of one of them have."""

from typing import Final

__all__ = ["is_another_list"]

_FIELDS: Final = {
    "course_files": b'"attendance_summary"',
    "cards": b'"date_formatted"',
    "quizzes": b'"quiz_uc"',
    "timetable": b'"c1"',
}


def is_another_list(endpoint: str, body: bytes) -> bool:
    """Whether an answer has rows of another endpoint's list, and none of its own.

    >>> is_another_list("quizzes", b'{"data":[{"attendance_summary":null}]}')
    True
    >>> is_another_list("quizzes", b'{"data":[]}')
    False
    """
    # Mostly found at once, in the first row.
    if _FIELDS[endpoint] in body:
        return False
    return any(field in body for field in _FIELDS.values())
