"""Decodes the platform's month table: a row for each course, a cell for each day."""

import re
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from ...primitives import visible
from .fields import FIRST_YEAR, minute_of_day, month_number, one_line, whole
from .json_body import BadShape
from .oddities import Note, ignore_oddity
from .rows import Envelope, read_list
from .schedule_cell import pieces_of

__all__ = ["Schedule", "ScheduleRow", "Slot", "decode_schedule"]

_MONTH: Final = r"\b(?P<month>[A-Za-z]{3,9})[ ,/-]+(?P<year>[0-9]{4})(?!\w)"
# Minutes have two digits, so slots that run together (09:4009:40) can be separated.
_TIME: Final = r"([0-9]{1,2}):([0-9]{2})(?::[0-9]{2})?(?: ?([AaPp])\.?[Mm]\.?)?"
_SLOT: Final = rf"{_TIME} ?(?:-|to) ?{_TIME}"
_MOVED: Final = rf"\b(?i:from|instead of|in (?:lieu|place) of):? ?{_SLOT}"
_NO_CLASS: Final = (
    r"(?i:holiday|vacation|\bno (?:class|lecture)|\boff\b|cancel"
    r"|^\W*(?:n\W?a|nil|none|free|sunday|lunch|(?:lunch |tea )?break|recess)\W*$)"
)
# Beside slots: a time that belongs to none of them, also as "10.40 - 11.30".
_OTHER_TIME: Final = r"\d:\d|\d\.\d\d ?(?:-|to) ?\d"
_ASIDE: Final = r"\([^()]*\)"
_CODE: Final = r"(?P<code>[A-Z]{2,6}[0-9]{2,4}[A-Z]?)(?:\s+(?P<name>\S.*))?"
_SECTION: Final = r"(?i:sec(?:tion)?)\b\s*[-:.]?\s*"
_PATH_PARTS: Final = 5  # batch / department / code and name / section / teacher
_LARGEST_CELL: Final = 4096  # characters; a day has eight slots
# Fifteen courses have some 500 slots in 60 kB, or in 2 MB if every cell is as large as
# allowed. 8 MiB held the loop for 10 s and became a page of 50 MB.
_LARGEST_TABLE: Final = 2 * 1024 * 1024
_MOST_ROWS: Final = 256
_MOST_SLOTS: Final = 10_000
_DAYS: Final = 31
_HALF_A_DAY: Final = 12 * 60  # minutes; no class lasts as long


class Slot(Struct, frozen=True, gc=False):
    """One class in a cell: minutes since midnight, and whether it was `held` by the
    cell's colour, None if that says nothing.
    """

    start: int
    end: int
    held: bool | None


class ScheduleRow(Struct, frozen=True, gc=False):
    """One course file's month; `slots` by day of the month.

    `readable` is False if a cell has something else than slots.
    """

    course: str
    code: str
    section: str
    faculty: str
    cf_id: int | None
    slots: dict[int, tuple[Slot, ...]]
    readable: bool = True


class Schedule(Struct, frozen=True, gc=False):
    """A month, (year, month) from its header row; None if there are no rows."""

    month: tuple[int, int] | None
    rows: tuple[ScheduleRow, ...]


_Row: TypeAlias = dict[str, Any]
_TABLE: Final = (msgspec.json.Decoder(Envelope[_Row]),)


def decode_schedule(body: bytes, note: Note = ignore_oddity) -> Schedule:
    """Decode `/custom/getMyScheduleStudent`: a header row, then a row per course.

    Raises BadShape if no row names the month, since the days would have no date, and
    for a table that is too large.
    """
    if len(body) > _LARGEST_TABLE:
        raise BadShape(f"a timetable of {len(body)} bytes")
    sent = read_list(body, _TABLE, dict, note, most=_MOST_ROWS)
    month: tuple[int, int] | None = None
    rows: list[ScheduleRow] = []
    count = 0
    for row in sent:
        header = _month(row)
        if header is not None:
            month = month or header
        elif (read := _row(row, note)) is None:
            note("row", "a row of the timetable without name and id")
        else:
            rows.append(read)
            count += sum(map(len, read.slots.values()))
            if count > _MOST_SLOTS:
                raise BadShape(f"more than {_MOST_SLOTS} slots in a timetable")
    if sent and month is None:
        raise BadShape("no row of the timetable names the month")
    return Schedule(month, tuple(rows))


def _month(row: _Row) -> tuple[int, int] | None:
    """The month that is a row's label, or part of it if the row is no course."""
    label = visible(_label(row, "name"))
    is_course = any(map(row.get, ("cf_id", "course_name", "name_text")))
    for found in re.finditer(_MONTH, label):
        year, month = int(found["year"]), month_number(found["month"])
        if month and year >= FIRST_YEAR and (found[0] == label or not is_course):
            return year, month
    return None


def _row(row: _Row, note: Note) -> ScheduleRow | None:
    cf_id, course_id = _id(row, "cf_id"), _id(row, "course_id")
    paths = [_label(row, key) for key in ("name_text", "course_name", "name")]
    named = [text for text in paths if text]
    if not (named or cf_id or course_id):
        return None
    path = max(named, key=lambda text: text.count("/"), default="")
    parts = [part.strip() for part in path.split("/")]
    code, course, section, teacher = _from_path(parts)
    if not course:
        note("name", "a row of the timetable without a course")
    slots: dict[int, tuple[Slot, ...]] = {}
    readable = True
    for day in range(1, _DAYS + 1):
        cell = row.get(f"c{day}")
        if cell is None or cell == "":
            continue
        read, all_read = _slots(cell)
        if read:
            slots[day] = read
        if not all_read:
            note("cell", f"c{day}: {type(cell).__name__}")
            readable = False
    return ScheduleRow(
        course=course or code or (str(cf_id) if cf_id else path or str(course_id)),
        code=code,
        section=section,
        faculty=_label(row, "faculty_name") or teacher,
        cf_id=cf_id,
        slots=slots,
        readable=readable,
    )


def _from_path(parts: list[str]) -> tuple[str, str, str, str]:
    """Return code, course, section and teacher of a path, "" for a missing one."""
    section, teacher = "", ""
    if len(parts) >= _PATH_PARTS:
        # A name may have a "/" of its own ("AI/ML Lab"): it ends before the section.
        rest = range(3, len(parts) - 1)
        at = next((i for i in rest if re.match(_SECTION, parts[i])), 3)
        section, teacher = re.sub(_SECTION, "", parts[at]), parts[-1]
        # So may a department ("CSE (AI/ML)"): the name begins with its code.
        begin = next((i for i in range(2, at) if re.fullmatch(_CODE, parts[i])), 2)
        parts = parts[begin:at]
    titled = "/".join(parts)
    found = re.fullmatch(_CODE, titled)
    code, course = (found["code"], found["name"] or "") if found else ("", titled)
    return code, course, section, teacher


def _slots(cell: Any) -> tuple[tuple[Slot, ...], bool]:
    """The slots of a cell, and whether it says nothing else about classes."""
    pieces = cell if isinstance(cell, list) else [cell]
    found: set[Slot] = set()
    rest, readable = "", True
    for piece in pieces:
        if piece is None:
            continue
        if not isinstance(piece, str) or len(piece) > _LARGEST_CELL:
            readable = False
            continue
        for text, held in pieces_of(piece):
            slots, left = _slots_of(visible(text), held)
            found.update(slots)
            rest += f" {left}"
    if rest.strip() and _says_more(rest, beside_slots=bool(found)):
        readable = False
    return tuple(sorted(found, key=lambda slot: (slot.start, slot.end))), readable


def _says_more(words: str, *, beside_slots: bool) -> bool:
    """Whether a cell's words say something that is not read. Beside slots they describe
    these ("Room 12", "(moved from 09:40)"), unless they have another time.
    """
    if beside_slots:
        return re.search(_OTHER_TIME, re.sub(_ASIDE, "", words)) is not None
    return re.search(r"\w", words) is not None and not re.search(_NO_CLASS, words)


def _slots_of(text: str, held: bool | None) -> tuple[list[Slot], str]:
    """The slots of a text, and its other words. Where a class was moved from is no slot
    beside the class.
    """
    found = _all_slots(text, held)
    if len(found[0]) > 1:
        slots, left = _all_slots(re.sub(_MOVED, " ", text), held)
        if slots:
            return slots, left
    return found


def _all_slots(text: str, held: bool | None) -> tuple[list[Slot], str]:
    slots: list[Slot] = []
    rest, at = "", 0
    for match in re.finditer(_SLOT, text):
        fields = match.groups()
        start, end = minute_of_day(*fields[:3]), minute_of_day(*fields[3:])
        if start is None or end is None or end <= start:
            continue
        # "1:00 - 1:50 PM"
        if match[6] and not match[3] and end - start >= _HALF_A_DAY:
            start += _HALF_A_DAY
        slots.append(Slot(start, end, held))
        rest += f"{text[at : match.start()]} "
        at = match.end()
    return slots, rest + text[at:]


def _id(row: _Row, key: str) -> int | None:
    """An identifier; None for 0 and less, a database's default in many rows."""
    read = whole(_scalar(row, key))
    return read if read and read > 0 else None


def _label(row: _Row, key: str) -> str:
    return one_line(_scalar(row, key))


def _scalar(row: _Row, key: str) -> Any:
    value = row.get(key)
    usable = isinstance(value, str | int | float) and not isinstance(value, bool)
    return value if usable else None
