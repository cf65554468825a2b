"""One name for each course file, the same on every page."""

from collections.abc import Iterable, Iterator
from itertools import count

from ..upstream import Course

__all__ = ["subject_keys"]


def subject_keys(courses: Iterable[Course]) -> tuple[str, ...]:
    """Name every course differently: `Name`, `Name (CODE)`, `Name (CODE, cfId)`.

    Each takes the first of these that no earlier course has. If all are taken (a
    course-file id sent twice, a course named like another's key) a number follows. A
    course without a code is distinguished by its id only.
    """
    keys: dict[str, None] = {}
    for course in courses:
        key = course.name
        if key in keys:
            key = next(longer for longer in _longer(course) if longer not in keys)
        keys[key] = None
    return tuple(keys)


def _longer(course: Course) -> Iterator[str]:
    if course.code:
        yield f"{course.name} ({course.code})"
    unique = ", ".join(filter(None, (course.code, str(course.cf_id))))
    yield f"{course.name} ({unique})"
    for number in count(2):
        yield f"{course.name} ({unique}, {number})"
