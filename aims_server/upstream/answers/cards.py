"""Attendance records: `/cards?type=Attendance`, page by page."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from ...primitives import Memo
from .fields import Scalar, one_line, whole
from .json_body import BadShape
from .message_fields import text_of
from .models import LONGEST_TIME, Card, Cards, CardsPage, only_student
from .oddities import Note, ignore_oddity
from .rows import Envelope, read_rows

__all__ = ["decode_cards", "merge_pages", "more_follows"]

_IS_PLAIN: Final = Memo(lambda mark: one_line(mark) == mark, most=256)
_LESS, _AMPERSAND, _BACKSLASH = b"<&\\"


class Record(Struct, frozen=True, gc=False):
    """One class of a course, if some fields have unusual types."""

    id: int | float | str | None = None
    state: str | None = None
    # A database's status flag is a number; only text is a mark.
    status: str | None = None
    start_time: Scalar = None
    date_formatted: Scalar = None
    faculty_name: Scalar = None
    student_id: Scalar = None
    fk_student: Scalar = None


class Null(Struct, frozen=True):
    """An answer with null in place of the object around the records."""

    response: None


_CARDS: Final = (
    msgspec.json.Decoder(Envelope[Card]),
    msgspec.json.Decoder(Envelope[Record]),
)


def decode_cards(body: bytes, note: Note = ignore_oddity) -> CardsPage:
    """Decode one page of `/cards?type=Attendance`; raises BadShape.

    No records are normal: a course whose classes have not begun.
    """
    try:
        page = read_rows(body, _CARDS, Record, note)
    except BadShape:
        if not _is_null(body):
            raise
        return CardsPage([], 0)
    cards, student_id = page.rows, None
    is_plain = bool(cards) and isinstance(cards[0], Card)
    if is_plain and not (_has_plain_marks(cards) and _has_plain_times(body, cards)):
        page = read_rows(body, _CARDS[1:], Record, note)
        cards = page.rows
    if cards and isinstance(cards[0], Record):
        student_id = only_student(
            student for row in cards for student in (row.student_id, row.fk_student)
        )
        cards = [card for row in cards if (card := _card(row, note)) is not None]
        if not cards:
            raise BadShape("no row is a record")
    return CardsPage(cards, page.sent, student_id, page.pages, page.total, page.more)


def _is_null(body: bytes) -> bool:
    """Whether there is null in place of everything, and no word of a failure. Whether
    there should be records is told by the summary.
    """
    try:
        msgspec.json.decode(body, type=Null | None)
    except (ValueError, RecursionError):
        return False
    return text_of(body) is None


def more_follows(pages: Sequence[CardsPage]) -> bool:
    """Whether the platform has a page after these, if any of their fields says so: a
    last page of 1 may be a default beside a link to the next one.

    An empty page, or one that begins like the first, is the end: then the platform does
    not page, whatever it says.
    """
    first, last = pages[0], pages[-1]
    if not last.cards or _repeats(first, last):
        return False
    most_pages, most_records = _announced(pages)
    if last.more or most_pages > len(pages):
        return True
    return most_records > sum([page.sent for page in pages])


def merge_pages(
    pages: Sequence[CardsPage], note: Note = ignore_oddity, *, complete: bool = True
) -> Cards:
    """Merge the pages of one course."""
    first = pages[0]
    cards, sent = first.cards, first.sent
    most_pages, most_records = _announced(pages)
    for number, page in enumerate(pages[1:], 2):
        is_promised = number <= most_pages
        if (is_promised and not page.cards) or _repeats(first, page):
            complete = False
        else:
            cards = cards + page.cards
            sent += page.sent
    if most_records > sent:
        complete = False
    if not complete:
        note("pages", f"{len(pages)} pages had, more announced")
    return Cards(cards, complete)


def _announced(pages: Sequence[CardsPage]) -> tuple[int, int]:
    """The greatest numbers of pages and records that any of them states: a class
    entered since the first was read may have begun a new page.
    """
    most_pages = most_records = 0
    for page in pages:  # mostly one: max() takes four times as long for it
        if page.pages and page.pages > most_pages:
            most_pages = page.pages
        if page.total and page.total > most_records:
            most_records = page.total
    return most_pages, most_records


def _repeats(first: CardsPage, page: CardsPage) -> bool:
    """Whether a later page begins with the first page's first record."""
    if page is first or not page.cards:
        return False
    return first.cards[0] == page.cards[0]


def _has_plain_marks(cards: Sequence[Card]) -> bool:
    """Whether every mark of a plain list is text without HTML, fit to be shown. A
    blank one may have its text in `status`, which a plain list does not read.
    """
    marks = {card.state for card in cards}
    # First the known marks, which nearly all are, without a call for each.
    return all(map(_IS_PLAIN.known.get, marks)) or all(map(_IS_PLAIN, marks))


def _has_plain_times(body: bytes, cards: Sequence[Card]) -> bool:
    """Whether no time of a plain list has HTML. The times are searched only if the body
    has a character with which HTML begins, escaped or not: 1.6 us for 40 records.
    """
    if not (_LESS in body or _AMPERSAND in body or _BACKSLASH in body):
        return True
    times = "".join([card.start_time + card.date_formatted for card in cards])
    return not ("<" in times or "&" in times)


def _card(record: Record, note: Note) -> Card | None:
    state = one_line(record.state) or one_line(record.status)
    start_time, date_formatted = _text(record.start_time), _text(record.date_formatted)
    teacher = record.faculty_name
    if not (state or start_time.strip() or date_formatted.strip()):
        note("row", "a record with neither mark nor date")
        return None
    return Card(
        state,
        start_time,
        date_formatted,
        teacher if isinstance(teacher, str) else one_line(teacher),
        _id(record.id),
    )


def _id(value: Scalar) -> int | str | None:
    """An identifier, as a number if possible; None for a text without a digit above 0
    ("-", "NA").
    """
    read = value if isinstance(value, int) else whole(value)
    if read is None and isinstance(value, str) and re.search("[1-9]", value):
        return value
    return read


def _text(value: Scalar) -> str:
    text = "" if value is None else str(value)
    plain = len(text) <= LONGEST_TIME and "<" not in text and "&" not in text
    return text if plain else one_line(text)[:LONGEST_TIME]
