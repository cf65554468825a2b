"""The platform's answers as typed values; it knows no HTTP.

Everything the platform sends becomes a value here and nowhere else: what leaves this
module has the shape it claims. One odd row costs no other row anything; an answer of
which nothing can be read is a `BadShape`.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from . import wire
from .fields import Number, Scalar, name, number, percent, sum_of, whole
from .messages import speaks_of_account, text_of
from .oddities import Note, ignore
from .wire import BadShape

__all__ = [
    "NO_ROWS",
    "BadShape",
    "Card",
    "Cards",
    "CardsPage",
    "Counts",
    "Course",
    "CourseFiles",
    "LoginBody",
    "Quizzes",
    "decode_cards",
    "decode_course_files",
    "decode_quizzes",
    "merge_pages",
    "more_follows",
    "pack_course_files",
    "read_login",
    "unpack_course_files",
]

NO_ROWS: Final = b'{"msg":"","response":{"data":[]}}'
"""The platform's own way of saying that there is nothing."""

_MOST_COURSES: Final = 256  # each costs a call to the platform; 18 are the most seen

_LONGEST_TIME: Final = 80  # characters; what is derived from these texts is cached


class Counts(Struct, frozen=True, gc=False, array_like=True):
    """The platform's own count of the classes of one course, or of all of them.

    `percent` is the platform's own text ("68.42%"), None if it gave no number.
    """

    present: Number
    absent: Number
    leave: Number
    exempt: Number
    total: Number
    percent: str | None


class Course(Struct, frozen=True, gc=False, array_like=True):
    """One course file: a course as one student attends it in one group.

    `counts` are None where the platform's cannot be used.
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

    `state` is the record's `state`, or its `status` where there is no `state`.
    """

    # What every record of a plain list has. A list in which one of the first three is
    # missing, or longer than any time is, goes to a slower reader, and so does one that
    # names students, which most do not.
    state: Annotated[str, Meta(min_length=1)]
    start_time: Annotated[str, Meta(max_length=_LONGEST_TIME)]
    date_formatted: Annotated[str, Meta(max_length=_LONGEST_TIME)]
    faculty_name: str = ""
    id: int | str | None = None
    student_id: None = None
    fk_student: None = None


class CardsPage(Struct, frozen=True, gc=False):
    """One page of records; `pages`, `total` and `more` as in `wire.Rows`."""

    cards: tuple[Card, ...]
    student_id: int | None = None
    pages: int | None = None
    total: int | None = None
    more: bool = False


class Cards(Struct, frozen=True, gc=False):
    """The records of one course, each once.

    `complete` is False where the platform has more that could not be had.
    """

    cards: tuple[Card, ...]
    student_id: int | None = None
    complete: bool = True


class Quizzes(Struct, frozen=True, gc=False):
    """The answer to be passed on, and the admission number it names, if any."""

    body: bytes
    admission_number: str | None


class LoginBody(Struct, frozen=True, gc=False):
    """What an answer to a login says.

    `token` is None where there is none; `text` is what the platform says in words.
    """

    token: str | None
    text: str | None
    student_id: int | None
    admission_number: str | None

    @property
    def refuses(self) -> bool:
        """Whether the text is about the account, as a refusal with a 500 is."""
        return self.text is not None and speaks_of_account(self.text)


_PACKED: Final = msgspec.msgpack.Decoder(CourseFiles)
_ROWS: Final = (msgspec.json.Decoder(wire.Envelope[wire.Row]),)
_CARDS: Final = (
    msgspec.json.Decoder(wire.Envelope[Card]),
    msgspec.json.Decoder(wire.Envelope[wire.Record]),
)
_LOGIN: Final = msgspec.json.Decoder(wire.Login)
_QUIZZES: Final = msgspec.json.Decoder(wire.Envelope[wire.Quiz])
_NO_COUNTS: Final = wire.Summary()


def decode_course_files(body: bytes, note: Note = ignore) -> CourseFiles:
    """Decode `/custom/getCFMappedWithStudentID?embed_attendance_summary=1`.

    A row of the code "Total" is the Total row, every other row with an id a course.
    Rows that repeat a course-file id are all kept: the platform's Total counts them
    too. Raises BadShape, also when no row is a course, or for two students.
    """
    rows = wire.read_rows(body, _ROWS, wire.Row, note).rows
    total = None
    courses: list[Course] = []
    for row in rows:
        if _is_total(row):
            total = _counts(row.attendance_summary or _NO_COUNTS) or total
            continue
        course = _course(row, note)
        if course is None:
            note("row", "a course file without an id")
        else:
            courses.append(course)
    if len(courses) > _MOST_COURSES:
        raise BadShape(f"{len(courses)} course files")
    if not courses and not all(map(_is_total, rows)):
        raise BadShape("no row is a course file")
    return CourseFiles(
        courses=tuple(courses),
        total=total,
        student_id=_only_student(row.student_id for row in rows),
        batch=_first_name(row.batch for row in rows),
        section=_first_name(row.section for row in rows),
        branch=_first_name(row.dept for row in rows),
    )


def decode_cards(body: bytes, note: Note = ignore) -> CardsPage:
    """Decode one page of `/cards?type=Attendance`; raises BadShape.

    No records are normal: a course whose classes have not begun.
    """
    sent = wire.read_rows(body, _CARDS, wire.Record, note)
    cards, student_id = sent.rows, None
    if _has_blank_mark(cards):
        sent = wire.read_rows(body, _CARDS[1:], wire.Record, note)
        cards = sent.rows
    if cards and isinstance(cards[0], wire.Record):
        student_id = _only_student(
            student for row in cards for student in (row.student_id, row.fk_student)
        )
        cards = [card for row in cards if (card := _card(row, note)) is not None]
        if not cards:
            raise BadShape("no row is a record")
    return CardsPage(tuple(cards), student_id, sent.pages, sent.total, sent.more)


def more_follows(pages: Sequence[CardsPage]) -> bool:
    """Whether the platform has a page after these, by what they say.

    A page that is empty, or begins like the first one, is the end of it: the platform
    does not know of pages, whatever it says.
    """
    first, last = pages[0], pages[-1]
    if not last.cards or _repeats(first, last):
        return False
    if first.pages is not None:
        return len(pages) < first.pages
    return last.more or (first.total or 0) > sum(len(page.cards) for page in pages)


def merge_pages(
    pages: Sequence[CardsPage], note: Note = ignore, *, complete: bool = True
) -> Cards:
    """Put the pages of one course together, each record once.

    Records are the same where their `id` is; of two that differ all the same, the
    later one stays. Raises BadShape for the records of two students.
    """
    first = pages[0]
    cards = first.cards
    for page in pages[1:]:
        if (first.pages is not None and not page.cards) or _repeats(first, page):
            complete = False
        else:
            cards += page.cards
    if (first.total or 0) > len(cards):
        complete = False
    if not complete:
        note("pages", f"{len(pages)} pages had, more announced")
    if len({card.id for card in cards}) < len(cards):
        cards = _distinct(cards, note)
    return Cards(cards, _only_student(page.student_id for page in pages), complete)


def decode_quizzes(body: bytes, note: Note = ignore) -> Quizzes:
    """Look at an answer of `/custom/myEvaluatedQuizzes`, which is passed on as it is.

    Only whose it is matters here. Raises BadShape for what is no JSON object, and for
    the quizzes of two students.
    """
    body = wire.utf8(body, note)
    try:
        rows: list[Any] = _QUIZZES.decode(body).response.data
    except (ValueError, RecursionError):
        rows = _loose_quizzes(wire.any_object(body))
    owners = {name(row.admission_number).upper() for row in rows} - {""}
    if len(owners) > 1:
        raise BadShape("quizzes of more than one student")
    return Quizzes(body, owners.pop() if owners else None)


def read_login(body: bytes) -> LoginBody:
    """Read an answer to a login; raises BadShape if it is no JSON object."""
    body = wire.utf8(body, ignore)
    try:
        login = _LOGIN.decode(body)
    except (ValueError, RecursionError):
        raise BadShape("an answer to a login that is no object") from None
    token, student = login.token, wire.LoginStudent()
    if isinstance(login.response, dict):
        student = wire.loose(login.response, wire.LoginStudent, ignore)
    return LoginBody(
        token=token if isinstance(token, str) and token.strip() else None,
        text=text_of(body),
        student_id=whole(student.id),
        admission_number=name(student.username).upper() or None,
    )


def pack_course_files(files: CourseFiles) -> bytes:
    """Return the course files in a compact form to keep."""
    return msgspec.msgpack.encode(files)


def unpack_course_files(packed: bytes) -> CourseFiles:
    """Undo `pack_course_files`, whose bytes alone it is for."""
    return _PACKED.decode(packed)


def _is_total(row: wire.Row) -> bool:
    label = name(row.cdata.course_code)
    if not label and row.id is None:
        label = name(row.cdata.course_name)
    return label.casefold() == "total"


def _course(row: wire.Row, note: Note) -> Course | None:
    cf_id = whole(row.id)
    if cf_id is None:
        return None
    code = name(row.cdata.course_code)
    # Subjects are keyed by name in the answers, so a course is never without one.
    called = name(row.cdata.course_name)
    if not called:
        called = code or str(cf_id)
        note("name", "a course file without a name")
    counts = None if row.attendance_summary is None else _counts(row.attendance_summary)
    if counts is None:
        note("counts", "a course file without usable counts")
    return Course(cf_id, code, called, counts)


def _counts(summary: wire.Summary) -> Counts | None:
    """Read a summary; None without Present, or without Total or what adds up to it."""
    present, total = number(summary.present), number(summary.total)
    absent, leave = number(summary.absent), number(summary.leave)
    exempt = number(summary.exempt)
    if present is None:
        return None
    if total is None:
        if absent is None:
            return None
        total = sum_of((present, absent, leave or 0, exempt or 0))
    elif absent is None:  # filled from Total, as the platform's own clients do
        absent = max(0, sum_of((total, -present, -(leave or 0), -(exempt or 0))))
    return Counts(
        present, absent, leave or 0, exempt or 0, total, percent(summary.percent)
    )


def _repeats(first: CardsPage, page: CardsPage) -> bool:
    """Whether a later page begins with the first page's first record."""
    if page is first or not page.cards:
        return False
    one, other = first.cards[0], page.cards[0]
    return one == other or (one.id == other.id and bool(one.id))


def _has_blank_mark(cards: Sequence[Card | wire.Record]) -> bool:
    """Whether a plain list has a mark of blanks, for which `status` may speak."""
    if not cards or not isinstance(cards[0], Card):
        return False
    return not all({(card.state or "").strip() for card in cards})


def _card(record: wire.Record, note: Note) -> Card | None:
    state = record.state
    if state is None or not state.strip():
        state = record.status or ""
    start_time, date_formatted = _text(record.start_time), _text(record.date_formatted)
    if not (state.strip() or start_time.strip() or date_formatted.strip()):
        note("row", "a record with neither mark nor date")
        return None
    return Card(
        state,
        start_time,
        date_formatted,
        name(record.faculty_name),
        whole(record.id) if isinstance(record.id, float) else record.id,
    )


def _text(value: Scalar) -> str:
    return "" if value is None else str(value)[:_LONGEST_TIME]


def _distinct(cards: tuple[Card, ...], note: Note) -> tuple[Card, ...]:
    by_id: dict[str, Card] = {}
    others: list[Card] = []
    for card in cards:
        key = str(card.id or "").strip()
        if key in ("", "0"):  # no id, so no two can be known to be the same
            others.append(card)
        elif key not in by_id:
            by_id[key] = card
        else:
            note("duplicate", "a record whose id came before")
            by_id[key] = max(by_id[key], card, key=_sent)
    return (*by_id.values(), *others)


def _sent(card: Card) -> tuple[str, ...]:
    return card.start_time, card.date_formatted, card.state, card.faculty_name


def _loose_quizzes(answer: dict[str, Any]) -> list[wire.Quiz]:
    response = answer.get("response")
    data = response.get("data") if isinstance(response, dict) else None
    rows = data if isinstance(data, list) else []
    return [wire.loose(row, wire.Quiz, ignore) for row in rows if isinstance(row, dict)]


def _only_student(values: Iterable[Scalar]) -> int | None:
    distinct = set(values)
    if distinct == {None}:
        return None
    students = set(map(whole, distinct)) - {None}
    if len(students) > 1:
        raise BadShape("rows of more than one student")
    return students.pop() if students else None


def _first_name(values: Iterable[Scalar]) -> str:
    return next(filter(None, map(name, values)), "")
