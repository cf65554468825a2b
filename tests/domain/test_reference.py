"""Both attendance pages, from the platform's bytes, against a reference of their own.

The reference is the slow and obvious reading of docs/contract.rst 2.1 and 2.2. It is
told what was meant (31 classes, 1 September, a leave) and shares no code with the
package; the bytes spell the same in the forms that the contract names.
"""

import json
from collections.abc import Callable
from fractions import Fraction
from itertools import count
from typing import Any, NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.domain.all_attendance import all_attendance_page
from aims_server.domain.attendance import attendance_page
from aims_server.upstream import ignore_oddity
from aims_server.upstream.answers import (
    decode_cards,
    decode_course_files,
    merge_pages,
)

from .counting import subject_days

NAMES = {"Web Lab": "Web Lab", " Signals &amp;\r\n<b>Systems</b>": "Signals & Systems"}
MARKS = {
    "present": ["Present", "P", "present ", "<b>Present</b>"],
    "absent": ["Absent", "a", "ABSENT"],
    "leave": ["Leave", "l", "Duty Leave", "MEDICAL_LEAVE"],
    "other": ["Exempt", "Adjusted", "Leave due"],
}
DATES = {
    "2025-09-01": ["2025-09-01", "01/Sep/2025", "01-Sept-2025", "01/09/2025"],
    "2025-10-31": ["2025-10-31", "31 October 2025", "31/oct/2025 (Adjusted)"],
    "": ["", "0000-00-00", "01/Jan/1970", "31/Feb/2025", "soon"],
}
TIMES = {530: ["08:50", "8.50 AM"], 740: ["12:20PM"], 945: ["15:45", "3:45 p.m."]}
COUNTS = st.integers(0, 40) | st.just(1031)
SPELLINGS: list[Callable[[int], object]] = [
    int,
    str,
    float,
    "{}.00".format,
    " {} ".format,
    "{:,}".format,
]
UNUSABLE: list[Any] = [None, True, "", "-", "NaN", -1, [], {}, "3 of 4", "\u0967"]


class Class(NamedTuple):
    """What a record means: an empty day is none that can be read."""

    id: int
    day: str
    minute: int
    mark: str
    record: dict[str, Any]


class File(NamedTuple):
    """What a course file means: `counts` are present, absent, leave and total, or None
    where they cannot be used, and `classes` None where no records can be had.
    """

    name: str
    code: str
    id: int
    counts: tuple[int, int, int, int] | None
    percent: str | None
    classes: list[Class] | None
    row: dict[str, Any]


@st.composite
def classes(draw: st.DrawFn) -> Class:
    """A class; of seven ids, so that some come twice."""
    number = draw(st.integers(1, 7))
    # Records of one id are the same, as the platform repeats them.
    day = list(DATES)[number % 3]
    minute = list(TIMES)[number % 2]
    mark = list(MARKS)[(number * 5) % 4]
    date, time = draw(st.sampled_from(DATES[day])), draw(st.sampled_from(TIMES[minute]))
    texts = {"start_time": f"{date} {time}", "date_formatted": ""}
    if draw(st.booleans()):
        texts = {"start_time": "", "date_formatted": f"{time} {date}"}
    field = draw(st.sampled_from(["state", "status"]))
    state = {field: draw(st.sampled_from(MARKS[mark]))}
    sent_id = draw(st.sampled_from(SPELLINGS[:3]))(number)
    return Class(number, day, minute, mark, {"id": sent_id, **texts, **state})


@st.composite
def course_files(draw: st.DrawFn, number: int) -> File:
    """A course file with counts, or a row that says less."""
    sent, called = draw(st.sampled_from([*NAMES.items()]))
    code = draw(st.sampled_from(["", "BCS501", "BCS502"]))
    present, absent, leave, exempt = (draw(COUNTS) for _ in range(4))
    total = present + absent + leave + exempt
    spell = st.sampled_from(SPELLINGS)
    summary: dict[str, Any] = {
        "Present": draw(spell)(present),
        "Absent": draw(spell)(absent),
        "Leave": draw(spell)(leave),
        "Exempt": draw(spell)(exempt),
        "Total": draw(spell)(total),
    }
    odd = draw(st.sampled_from(["", "", "", "Present", "Total", "all"]))
    if odd and odd != "all":
        summary[odd] = draw(st.sampled_from(UNUSABLE))
    percent = draw(st.sampled_from(["61.5%", "61.5", "NaN%", None]))
    summary["Percent"] = percent
    usable = odd not in ("Present", "all")
    return File(
        called,
        code,
        number,
        (present, absent, leave, total) if usable else None,
        "61.5%" if usable and percent in ("61.5%", "61.5") else None,
        draw(st.none() | st.lists(classes(), max_size=8)),
        {
            "id": draw(st.sampled_from(SPELLINGS[:3]))(number),
            "cdata": {"course_name": sent, "course_code": code},
            "attendance_summary": draw(st.sampled_from([None, [], "x"]))
            if odd == "all"
            else summary,
        },
    )


def share(present: int, total: int) -> str:
    """The percentage, half up to two decimals, without zeros at its end."""
    hundredths = Fraction(10_000 * present, total) if total else Fraction(0)
    rounded = int(hundredths + Fraction(1, 2))
    return f"{rounded / 100:.2f}".rstrip("0").rstrip(".") + "%"


def plan(present: int, total: int, target: int) -> tuple[int | None, int | None]:
    """Classes that may be missed and must be attended, tried one after the other."""
    if not total:
        return None, None
    if present * 100 < target * total:
        if target == 100:
            return 0, None
        enough = (n for n in count() if (present + n) * 100 >= target * (total + n))
        return 0, next(enough)
    return next(n for n in count() if present * 100 < target * (total + n + 1)), 0


def keys(files: list[File]) -> list[str]:
    """Their names, told apart by the code, and then by the id as well."""
    taken: list[str] = []
    for file in files:
        unique = f"{file.code}, {file.id}" if file.code else str(file.id)
        for key in (file.name, f"{file.name} ({file.code})", f"{file.name} ({unique})"):
            if key not in taken and not key.endswith("()"):
                taken.append(key)
                break
    return taken


def expected_summary(files: list[File], target: int) -> dict[str, Any]:
    """docs/contract.rst 2.1, without a Total row."""
    courses = []
    for key, file in zip(keys(files), files, strict=True):
        present, _, _, total = file.counts or (0, 0, 0, 0)
        can_miss, must_attend = plan(present, total, target)
        courses.append(
            {
                "course": key,
                "courseCode": file.code,
                "present": present,
                "total": total,
                "percent": file.percent or share(present, total),
                "canMiss": can_miss,
                "mustAttend": must_attend,
            }
        )
    present = sum(file.counts[0] for file in files if file.counts)
    total = sum(file.counts[3] for file in files if file.counts)
    can_miss, must_attend = plan(present, total, target)
    return {
        "dailyAttendance": courses,
        "totalPresent": present,
        "totalClasses": total,
        "overallPercentage": share(present, total),
        "target": target,
        "canMiss": can_miss,
        "mustAttend": must_attend,
        "incomplete": [
            key for key, file in zip(keys(files), files, strict=True) if not file.counts
        ],
    }


def expected_subject(file: File, target: int) -> tuple[dict[str, Any], bool]:
    """One subject of docs/contract.rst 2.2, and whether it is incomplete."""
    held = list({each.id: each for each in file.classes or ()}.values())
    marks = [each.mark for each in held]
    counted = tuple(map(marks.count, ("present", "absent", "leave")))
    counts = file.counts or (0, 0, 0, 0)
    unbelieved = not any(counted) and (any(counts[:3]) or (not held and counts[3]))
    incomplete = file.classes is None or bool(unbelieved)
    shown = counts[:3] if incomplete and file.counts else counted
    present, total = (counts[0], counts[3]) if file.counts else (shown[0], sum(shown))
    can_miss, must_attend = plan(present, total, target)
    daily = []
    for day in sorted({each.day for each in held} - {""}):
        its = [each for each in held if each.day == day]
        daily.append(
            {
                "date": day,
                **{m: sum(each.mark == m for each in its) for m in [*MARKS][:3]},
                "minutes": sorted(each.minute for each in its),
            }
        )
    return {
        "courseCode": file.code,
        "cfId": file.id,
        "totalPresent": shown[0],
        "totalAbsent": shown[1],
        "totalLeave": shown[2],
        "total": total,
        "percent": file.percent or share(present, total),
        "canMiss": can_miss,
        "mustAttend": must_attend,
        "enteredUntil": daily[-1]["date"] if daily else None,
        "daily": daily,
    }, incomplete


def minute_of(detail: dict[str, Any]) -> int:
    """The time of day that a detail of a page was given."""
    text = detail["time"] + detail["formatted"]
    return next(m for m, spelled in TIMES.items() if any(s in text for s in spelled))


@settings(max_examples=60)
@given(
    st.integers(1, 4).flatmap(
        lambda most: st.tuples(*map(course_files, range(1, most + 1)))
    ),
    st.sampled_from([50, 75, 100]),
)
def test_whatever_the_spelling_the_pages_say_what_was_meant(files, target):
    """Every figure of both pages is the reference's, record by record and in sum."""
    listed = list(files)
    body = json.dumps({"msg": "", "response": {"data": [f.row for f in listed]}})
    decoded = decode_course_files(body.encode())
    summary = json.loads(msgspec.json.encode(attendance_page(decoded, target)))
    expected = expected_summary(listed, target)
    assert {key: summary[key] for key in expected} == expected

    had = {}
    for file in listed:
        if file.classes is not None:
            rows = {"response": {"data": [each.record for each in file.classes]}}
            cards = merge_pages([decode_cards(json.dumps(rows).encode())]).cards
            had[file.id] = subject_days(cards)
    made = all_attendance_page(decoded, had, "", target, ignore_oddity)
    page = json.loads(msgspec.json.encode(made))
    for subject in page["subjects"].values():
        for day in subject["daily"]:
            day["minutes"] = list(map(minute_of, day.pop("details")))
    subjects = [expected_subject(file, target) for file in listed]
    named = list(zip(keys(listed), subjects, strict=True))
    assert page["subjects"] == {key: subject for key, (subject, _) in named}
    assert page["incomplete"] == [key for key, (_, missing) in named if missing]
    for mark in ("Present", "Absent", "Leave"):
        total = sum(subject[f"total{mark}"] for subject, _ in subjects)
        assert page[f"total{mark}AllSubjects"] == total


SOUND = {"id": 9, "state": "Present", "start_time": "2025-09-01 08:50:00"}
SOUND["date_formatted"] = "08:50AM - 09:40AM 01/Sep/2025"
FIELDS = [*SOUND, "status", "faculty_name"]
TEXTS = [None, "", " ", "P", "<b>Leave</b>", "A &amp;lt; B", "01/Sep/2025"]
changes = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(TEXTS), max_size=2)


def read_and_counted(rows: list[Any]) -> Any:
    """The days of these rows, as bytes of JSON."""
    body = json.dumps({"msg": "", "response": {"data": rows}}).encode()
    return subject_days(merge_pages([decode_cards(body)]).cards)


@settings(max_examples=150)
@given(st.lists(changes, max_size=3))
def test_a_row_that_is_no_record_changes_no_other(changed):
    """Such a list is read by a slower reader, which understands each as the other."""
    rows = [SOUND | {"id": n} | fields for n, fields in enumerate(changed)]
    assert read_and_counted([SOUND, *rows, None]) == read_and_counted([SOUND, *rows])
