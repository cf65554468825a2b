"""The platform's answers as typed values, which the decoders (`course_files`, `cards`,
`account`, `schedule`) make. Knows no HTTP.
"""

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

from .fields import Number, Scalar, one_line, whole
from .json_body import BadShape
from .message_fields import text_of
from .messages import speaks_of_account

__all__ = [
    "LONGEST_TIME",
    "NO_ROWS",
    "Card",
    "Cards",
    "CardsPage",
    "Counts",
    "Course",
    "CourseFiles",
    "LoginBody",
    "Quizzes",
    "only_student",
    "pack_course_files",
    "unpack_course_files",
]

NO_ROWS: Final = b'{"msg":"","response":{"data":[]}}'
"""The platform's own way of saying that there is nothing."""

LONGEST_TIME: Final = 80  # characters; caches hold values derived from such a text

# An identifier that is text and not a number written as text, such as a UUID.
_KEY: Final = r"^(?=.*[1-9])(?=.*[A-Za-z])[\w-]+$"


class Counts(Struct, frozen=True, gc=False, array_like=True):
    """The platform's count of the classes of one course, or of all courses.

    `percent` is the platform's text ("68.42%"), None if it gave no number.
    """

    present: Number
    absent: Number
    leave: Number
    total: Number
    percent: str | None


class Course(Struct, frozen=True, gc=False, array_like=True):
    """One course file: a course as one student attends it in one group.

    `counts` is None if the platform's numbers cannot be used.
    """

    cf_id: int
    code: str
    name: str
    counts: Counts | None


class CourseFiles(Struct, frozen=True, gc=False, array_like=True):
    """A student's course files in the platform's order; none for a new student.

    `total` is the platform's Total row, None if it sent no usable one.
    """

    courses: tuple[Course, ...]
    total: Counts | None
    student_id: int | None
    batch: str
    section: str
    branch: str


class Card(Struct, frozen=True, gc=False):
    """One class of one course: mark, time and teacher as sent, "" if absent.

    `state` is the record's `state`, or its `status` if it has no `state`.
    """

    # Every record of a plain list has these. A list goes to a slower reader if one of
    # the first three is missing or longer than any time, if it names students, which
    # most do not, or if its ids are numbers as text.
    state: Annotated[str, Meta(min_length=1)]
    start_time: Annotated[str, Meta(max_length=LONGEST_TIME)]
    date_formatted: Annotated[str, Meta(max_length=LONGEST_TIME)]
    faculty_name: str = ""
    id: int | Annotated[str, Meta(pattern=_KEY)] | None = None
    student_id: None = None
    fk_student: None = None


class CardsPage(Struct, frozen=True, gc=False):
    """One page of records; `sent`, `pages`, `total` and `more` as in `rows.Rows`."""

    cards: list[Card]  # no tuple: CPython 3.11 keeps 2000 freed ones of 20, never used
    sent: int
    student_id: int | None = None
    pages: int | None = None
    total: int | None = None
    more: bool = False


class Cards(Struct, frozen=True, gc=False):
    """The records of one course, as sent, perhaps some twice.

    `complete` is False if the platform has more that could not be fetched.
    """

    cards: list[Card]
    complete: bool = True


class Quizzes(Struct, frozen=True, gc=False):
    """The answer to be passed on, the admission number and the student that it names,
    and whether it has no quiz.
    """

    body: bytes
    admission_number: str | None = None
    student_id: int | None = None
    is_empty: bool = False


class _Refusal(Struct, frozen=True):
    """The fields of a login's answer that an error passes on. Other fields, and nested
    ones, may have the student with the PIN, or what was sent to the platform.
    """

    status: Raw = Raw()
    msg: Raw = Raw()


class LoginBody(Struct, frozen=True, gc=False):
    """An answer to a login.

    `body` is the answer as UTF-8 JSON; `token` is None if it has none.
    """

    body: bytes
    token: str | None
    student_id: int | None
    admission_number: str | None

    @property
    def text(self) -> str | None:
        """The platform's message without HTML; searched each time, as few need it."""
        return one_line(text_of(self.body)) or None

    @property
    def refusal(self) -> bytes:
        """A JSON object of the fields that an error passes on, except nested ones."""
        sent = msgspec.structs.asdict(_REFUSAL.decode(self.body))
        nested_or_none = b"[", b"{", b""
        flat = {k: v for k, v in sent.items() if bytes(v)[:1] not in nested_or_none}
        return msgspec.json.encode(flat)

    @property
    def refuses(self) -> bool:
        """Whether the text concerns the account, and so may refuse with a 500."""
        return speaks_of_account(self.text or "")


_REFUSAL: Final = msgspec.json.Decoder(_Refusal)
_PACKED: Final = msgspec.msgpack.Decoder(CourseFiles)


def only_student(values: Iterable[Scalar]) -> int | None:
    """Return the student whom these fields name, None for nobody; raises BadShape for
    two. 0, a database's default, names nobody.
    """
    students = set(map(whole, set(values))) - {None, 0}
    if len(students) > 1:
        raise BadShape("rows of more than one student")
    return students.pop() if students else None


def pack_course_files(files: CourseFiles) -> bytes:
    """Return the course files in a compact form to be kept."""
    return msgspec.msgpack.encode(files)


def unpack_course_files(packed: bytes) -> CourseFiles:
    """Undo `pack_course_files`; takes only its bytes."""
    return _PACKED.decode(packed)
