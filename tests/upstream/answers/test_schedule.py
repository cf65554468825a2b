"""The platform's month table: HTML cells, paths for names, the month of its header."""

import json
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.upstream.answers import (
    NO_ROWS,
    BadShape,
    Schedule,
    ScheduleRow,
    Slot,
    decode_schedule,
)

HEADER = {"name": "<b>September-2025</b>", "c1": "<b>Mon</b>", "c2": "<b>Tue</b>"}
PATH = "2027/IT/BCS503 Design and Analysis of Algorithm/Sec - C/R SAMPLE"
GREEN = "<div style='color:green'>{}</div>"
ALGORITHM = "Design and Analysis of Algorithm"


def decoded(*rows, note=lambda *_: None):
    """The rows, sent behind a header and decoded."""
    body = {"msg": "", "response": {"data": [HEADER, *rows]}}
    return decode_schedule(json.dumps(body).encode(), note)


def row(**changes):
    """A course's row, the given fields changed."""
    known = {"name_text": PATH, "course_name": PATH, "faculty_name": "R SAMPLE"}
    return known | {"course_id": 7293001, "cf_id": 7300101} | changes


def slots_of(cell):
    """The slots of a cell as (start, end, held); None where it cannot be read."""
    (read,) = decoded(row(c1=cell)).rows
    if not read.readable:
        return None
    return [(_clock(s.start), _clock(s.end), s.held) for s in read.slots.get(1, ())]


def _clock(minute):
    return f"{minute // 60:02}:{minute % 60:02}"


def test_the_documented_row_is_read_field_by_field():
    """Course, code, section and teacher of the path; slots by day."""
    cell = GREEN.format("08:50 - 09:40") + GREEN.format("09:40 - 10:30")
    assert decoded(row(c1=cell, c2="")) == Schedule(
        (2025, 9),
        (
            ScheduleRow(
                course="Design and Analysis of Algorithm",
                code="BCS503",
                section="C",
                faculty="R SAMPLE",
                cf_id=7300101,
                slots={1: (Slot(530, 580, True), Slot(580, 630, True))},
            ),
        ),
    )


ONE, TWO = ("08:50", "09:40"), ("09:40", "10:30")


@pytest.mark.parametrize(
    ("cell", "slots"),
    [
        ("", []),
        (None, []),
        ("-", []),
        ("\u2013", []),
        ("Holiday", []),
        ("<div>NO CLASS</div>", []),
        ("N/A", []),
        ("<b>Lunch Break</b>", []),
        ("<div></div>", []),
        (GREEN.format("08:50 - 09:40"), [(*ONE, True)]),
        ("<div style='color:red'>08:50 - 09:40</div>", [(*ONE, False)]),
        ('<div style="font-size:9px; color: Green;">08:50-09:40</div>', [(*ONE, True)]),
        ("<div style='background-color:green'>08:50 - 09:40</div>", [(*ONE, None)]),
        ("<div style='color:blue'>08:50 - 09:40</div>", [(*ONE, None)]),
        ("08:50 - 09:40", [(*ONE, None)]),
        ("08:50 - 09:4009:40 - 10:30", [(*ONE, None), (*TWO, None)]),
        ("08:50 - 09:40<br>09:40 - 10:30", [(*ONE, None), (*TWO, None)]),
        (
            GREEN.format("08:50 - 09:4009:40 - 10:30"),
            [(*ONE, True), (*TWO, True)],
        ),
        (
            GREEN.format("08:50 - 09:40")
            + "<div style='color:red'>09:40 - 10:30</div>",
            [(*ONE, True), (*TWO, False)],
        ),
        (
            "<p style='color:green'><span>08:50</span> - <span>09:40</span></p>",
            [(*ONE, True)],
        ),
        ("<div style='color:green'>08:50 - 09:40", [(*ONE, True)]),
        ("<div>08:50&nbsp;-&nbsp;09:40</div></div>", [(*ONE, None)]),
        (GREEN.format("08:50 - 09:40 (Room 12, adjusted)"), [(*ONE, True)]),
        ("08:50 \u2013 10:30", [("08:50", "10:30", None)]),
        ("08:50\u201110:30", [("08:50", "10:30", None)]),
        ("\uff10\uff18:50\u221210:30", [("08:50", "10:30", None)]),
        ("08:50 - 10:30 (moved from 10:40)", [("08:50", "10:30", None)]),
        (GREEN.format("08:50 - 09:40 (moved from 10:40 - 11:30)"), [(*ONE, True)]),
        ("08:50 - 09:40<br>instead of: 9:40 AM to 10:30 AM", [(*ONE, None)]),
        ("from 08:50 - 09:40, from 09:40 - 10:30", [(*ONE, None), (*TWO, None)]),
        ([None, "08:50 - 09:40", ""], [(*ONE, None)]),
        ("08:50 - 10:30 Room 2.14", [("08:50", "10:30", None)]),
        ("8:50 AM - 12:20 PM", [("08:50", "12:20", None)]),
        ("8:50 a.m. - 12:20 p.m.", [("08:50", "12:20", None)]),
        ("1:00 - 1:50 PM", [("13:00", "13:50", None)]),
        ("14:00 PM - 14:50 PM", [("14:00", "14:50", None)]),
        ("14:00 AM - 14:50 AM", None),
        ("11:30 - 12:20 PM", [("11:30", "12:20", None)]),
        ("1:00 AM - 1:50 PM", [("01:00", "13:50", None)]),
        ("08:50:00 - 09:40:00", [(*ONE, None)]),
        (
            [GREEN.format("08:50 - 09:40"), "09:40 - 10:30"],
            [(*ONE, True), (*TWO, None)],
        ),
        (["<![x", GREEN.format("08:50 - 09:40")], [(*ONE, True)]),
        (GREEN.format("08:50 - 09:40") + "<span>Room 12</span>", [(*ONE, True)]),
        (GREEN.format("08:50 - 09:40") + "<span>09:4</span>", None),
        (
            "<div>08:50 - 09:40 Room 1</div><div>9:40 - 10:30 Room 2</div>",
            [(*ONE, None), (*TWO, None)],
        ),
        (
            "<p>08:50 - 09:40<span>CR 12</span><span>9:40 AM - 10:30</span></p>",
            [(*ONE, None), (*TWO, None)],
        ),
        (
            "<div>08:50 - 09:40, Lab 1</div><div>2:00 - 2:50 PM</div>",
            [(*ONE, None), ("14:00", "14:50", None)],
        ),
        (GREEN.format("after lunch"), None),
        ("see notice", None),
        ("<!-- 07:00 - 07:50 --><b>08:50 - 09:40</b>", [(*ONE, None)]),
        ("08:50 - 09:40<!-- 07:00", [(*ONE, None)]),
        ("<p title='>' style=color:green>08:50 - 09:40", [(*ONE, None)]),
        (
            "<p style=color:green>08:50 - 09:40</P>09:40 - 10:30",
            [(*ONE, True), (*TWO, None)],
        ),
        (
            "<P style=color:green>08:50 - 09:40</p>09:40 - 10:30",
            [(*ONE, True), (*TWO, None)],
        ),
        (GREEN.format("<div>Lab</div>08:50 - 09:40"), [(*ONE, True)]),
        (GREEN.format("Lab</b>08:50 - 09:40"), [(*ONE, True)]),
        ("<p style='color&#58;green'>08:50 - 09:40</p>", [(*ONE, True)]),
        ("a < b 08:50 - 09:40", [(*ONE, None)]),
        ([], []),
        (GREEN.format("09:40 - 10:30") + GREEN.format("08:50 - 09:40"), "both"),
        (GREEN.format("08:50 - 09:40") * 2, [(*ONE, True)]),
        ("25:00 - 26:00", None),
        ("25:00 - 09:40", None),
        ("08:50 - 24:10", None),
        ("09:4, 08:50 - 09:40", None),
        ("09:40 - 08:50", None),
        ("09:40 - 09:40", None),
        ("08:50", None),
        ("period 3", None),
        (
            "\u0966\u096e:\u096b\u0966 - \u0966\u096f:\u096a\u0966",
            None,
        ),  # in Devanagari
        (7, None),
        ({}, None),
        ([7], None),
        ("x" * 5000, None),
    ],
)
def test_a_cell_is_read_in_every_form(cell, slots):
    """One element a slot, texts run together, lists, words behind a time; a cell that
    has none is read if it says that there is no class.
    """
    expected = [(*ONE, True), (*TWO, True)] if slots == "both" else slots
    assert slots_of(cell) == expected


@pytest.mark.parametrize(
    "more",
    [
        "09:4",
        ", 10:40",
        "<br>10:40 -",
        "<br>10.40 - 11.30",
        "<br>10:40 \u2192 11:30",
        "<br>25:00 - 26:00",
        "<br>11:30 - 10:40",
        GREEN.format("10.40 to 11.30"),
    ],
)
@pytest.mark.parametrize("form", ["{}", GREEN])
def test_what_can_be_read_of_a_cell_is_shown(form, more):
    """A class that cannot be read costs none beside it, and the row says so."""
    (read,) = decoded(row(c1=form.format(f"08:50 - 09:40{more}"))).rows
    assert [(slot.start, slot.end) for slot in read.slots[1]] == [(530, 580)]
    assert not read.readable


def test_an_odd_piece_of_a_cell_costs_no_other_piece():
    """In a cell that is a list, the other classes of the day are read."""
    (read,) = decoded(row(c1=[7, "08:50 - 09:40"])).rows
    assert (list(read.slots), read.readable) == ([1], False)


@pytest.mark.parametrize(
    ("fields", "course", "code", "section"),
    [
        ({}, ALGORITHM, "BCS503", "C"),
        ({"name_text": None}, ALGORITHM, "BCS503", "C"),
        ({"name_text": "<b>2027/IT/BCS054 C&amp;D/Sec-A/X</b>"}, "C&D", "BCS054", "A"),
        (
            {"name_text": "2027/IT/BCS054 AI/ML Lab/Sec - A/X"},
            "AI/ML Lab",
            "BCS054",
            "A",
        ),
        ({"name_text": "2027/CSE (AI/ML)/BCS054 C/Sec - A/X"}, "C", "BCS054", "A"),
        ({"name_text": "2027/IT/BCS054/Sec - A/X"}, "BCS054", "BCS054", "A"),
        ({"name_text": "2027/IT/BCS054 C/CS101/Sec - A/X"}, "C/CS101", "BCS054", "A"),
        ({"name_text": "Web Lab", "course_name": None}, "Web Lab", "", ""),
        ({"name_text": "2027/IT/Soft Skills/C/K SAMPLE"}, "Soft Skills", "", "C"),
        ({"name_text": "2027 / IT / BCS054 C / Sec - A / X"}, "C", "BCS054", "A"),
        ({"name_text": None, "course_name": None}, "7300101", "", ""),
        (
            {"name_text": None, "course_name": None, "course_id": None},
            "7300101",
            "",
            "",
        ),
        (
            {"name_text": None, "course_name": None, "cf_id": 0},
            "7293001",
            "",
            "",
        ),
        (
            {"name_text": "2027/IT//Sec - C/X", "course_name": None, "cf_id": None},
            "2027/IT//Sec - C/X",
            "",
            "C",
        ),
    ],
)
def test_names_come_from_the_path_or_from_what_there_is(fields, course, code, section):
    """A path of five parts, a plain name, or the id where there is none."""
    (read,) = decoded(row(**fields)).rows
    assert (read.course, read.code, read.section) == (course, code, section)


@pytest.mark.parametrize("nothing", [0, -1, "0", None])
def test_a_default_of_a_database_is_no_course_file(nothing):
    """Rows that share it would be taken for one course."""
    assert decoded(row(cf_id=nothing)).rows[0].cf_id is None


@pytest.mark.parametrize(
    ("faculty", "shown"),
    [("K &amp; S", "K & S"), (None, "R SAMPLE"), ([], "R SAMPLE")],
)
def test_the_teacher_is_the_fields_else_the_paths(faculty, shown):
    """The last part of the path stands in."""
    assert decoded(row(faculty_name=faculty)).rows[0].faculty == shown


@pytest.mark.parametrize("odd", [None, "x", [], {}, {"cf_id": []}, {"name": " "}])
@pytest.mark.parametrize("at", [0, 1])
def test_an_odd_row_costs_no_other_row_anything(odd, at):
    """It is left out and noted, wherever it stands."""
    notes: Counter[str] = Counter()
    rows = [row(c1="08:50 - 09:40")]
    plain = decoded(*rows)
    rows.insert(at, odd)
    assert decoded(*rows, note=lambda kind, _: notes.update([kind])) == plain
    assert notes["row"] == 1


def test_a_cell_that_cannot_be_read_costs_that_cell():
    """The row's other days stand, and the row knows; no class is on a day of it."""
    notes = []
    (read,) = decoded(
        row(c1="period 3", c2="08:50 - 09:40"), note=lambda *note: notes.append(note)
    ).rows
    assert (read.readable, list(read.slots)) == (False, [2])
    assert notes == [("cell", "c1: str")]


@pytest.mark.parametrize(
    ("name", "month"),
    [
        ("<b>September-2025</b>", (2025, 9)),
        ("March 2025", (2025, 3)),
        ("FEB/2024", (2024, 2)),
        ("<div><b>December</b>-2026</div>", (2026, 12)),
        ("December-9999", (9999, 12)),
        ("Timetable of September-2025 (Odd Semester)", (2025, 9)),
        ("Academic Session 2025-26, September 2025", (2025, 9)),
        ("September \u2010 2025", (2025, 9)),
    ],
)
def test_the_header_row_names_the_month(name, month):
    """It is read in the platform's forms, wherever the row stands."""
    body = {"response": {"data": [row(), {"name": name, "c1": "Mon"}]}}
    assert decode_schedule(json.dumps(body).encode()).month == month


@pytest.mark.parametrize(
    "name",
    ["Smarch-2025", "2025-09", "", None, "September-25", "September-0000",
     "Decisions-2025", "January-0001", "January-1970"],
)  # fmt: skip
def test_a_table_without_a_month_is_refused(name):
    """Its days would have no date, and today's month is only a guess."""
    body = {"response": {"data": [{"name": name, "c1": "Mon"}, row()]}}
    with pytest.raises(BadShape):
        decode_schedule(json.dumps(body).encode())


def test_a_table_out_of_all_measure_is_refused():
    """It is read on the event loop; a usual one has 60 kB and 500 slots."""
    month = {f"c{day}": "08:50 - 09:40, 09:40 - 10:30" for day in range(1, 32)}
    assert len(decoded(*[row(**month)] * 160).rows) == 160
    with pytest.raises(BadShape, match="slots"):
        decoded(*[row(**month)] * 170)
    with pytest.raises(BadShape, match="bytes"):
        decoded(row(name_text="x" * 2 * 1024 * 1024))


@pytest.mark.parametrize("told_by", ["cf_id", "course_name", "name_text"])
def test_a_course_that_names_a_month_is_no_header(told_by):
    """Its classes would be lost without a word."""
    named = {"name": "Workshop of May 2025", told_by: "7300101", "c1": "08:50 - 09:40"}
    header = {"name": "September-2025", "c1": "Mon"}
    for rows in ([header, named], [named, header]):
        read = decode_schedule(json.dumps({"response": {"data": rows}}).encode())
        assert (read.month, list(read.rows[0].slots)) == ((2025, 9), [1])


def test_a_header_may_have_the_fields_of_a_course():
    """Its whole label is the month; a later row that names one is no other header."""
    header = {"name": "September-2025", "name_text": "September-2025", "cf_id": 7}
    later = {"name": "As of October 2025"}
    body = {"response": {"data": [header, row(), later]}}
    read = decode_schedule(json.dumps(body).encode())
    assert (read.month, len(read.rows)) == ((2025, 9), 1)


def test_no_rows_are_an_answer():
    """Between terms there is no table."""
    assert decode_schedule(NO_ROWS) == Schedule(None, ())


times = st.integers(0, 23 * 60).flatmap(
    lambda start: st.tuples(st.just(start), st.integers(start + 1, 24 * 60 - 1))
)


@settings(max_examples=80)
@given(
    st.lists(times, max_size=6),
    st.sampled_from(["", "<br>", " "]),
    st.sampled_from([None, "green", "red"]),
)
def test_slots_survive_every_writing(spans, between, colour):
    """Whatever separates them, the same slots are read, in order, each once."""
    pieces = [f"{_clock(start)} - {_clock(end)}" for start, end in spans]
    if colour:
        pieces = [f"<div style='color:{colour}'>{piece}</div>" for piece in pieces]
    held = {None: None, "green": True, "red": False}[colour]
    assert slots_of(between.join(pieces)) == [
        (_clock(start), _clock(end), held) for start, end in sorted(set(spans))
    ]


cells = st.text(max_size=30) | st.none() | st.integers() | st.lists(st.text(max_size=9))
cells |= st.lists(
    st.sampled_from(["<div style='color:green'>", "</div>", "08:50", "-", "<", "&"]),
    max_size=8,
).map("".join)


@settings(max_examples=120)
@given(st.dictionaries(st.sampled_from(["c1", "c31", "name", "cf_id"]), cells))
def test_every_row_is_read_or_left_out(fields):
    """Whatever stands in its cells, the good row beside it is whole."""
    good = row(c3="08:50 - 09:40")
    with suppress(BadShape):
        rows = decoded(fields, good).rows
        assert decoded(good).rows[0] == rows[-1]
