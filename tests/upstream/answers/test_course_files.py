"""Course files decoded: what is taken, what is left out, what is refused."""

import json
from collections import Counter
from typing import Any

import pytest

from aims_server.upstream.answers import (
    BadShape,
    Counts,
    Course,
    CourseFiles,
    decode_cards,
    decode_course_files,
    decode_schedule,
)

from .bodies import TOTAL_ROW, body_of, files_of, row, summary, without


def counts_of(**changes):
    """The counts decoded from a summary with the given changes."""
    return files_of(row(attendance_summary=summary(**changes))).courses[0].counts


def test_the_documented_answer_is_read_field_by_field():
    """Names become one line, the Total row stands apart, the rest is the student's."""
    assert files_of(row(), TOTAL_ROW) == CourseFiles(
        courses=(
            Course(
                cf_id=7300101,
                code="BCS503",
                name="Design and Analysis of Algorithm Lab",
                counts=Counts(13, 6, 0, 19, "68.42%"),
            ),
        ),
        total=Counts(132, 27, 0, 159, "83.02%"),
        student_id=5900001,
        batch="2027",
        section="C",
        branch="IT",
    )


def test_numbers_as_text_and_text_as_numbers_read_alike():
    """Either form of id, student, batch, code, counts and percent gives one value."""
    as_text = row(
        id="7300101",
        student_id="5900001",
        cdata={"course_code": "503", "course_name": "Lab"},
        attendance_summary=summary(Present="13", Total="19"),
    )
    as_numbers = row(
        id=7300101.0,
        batch=2027,
        cdata={"course_code": 503, "course_name": "Lab"},
        attendance_summary=summary(Absent=6.0, Percent=68.42),
    )
    assert files_of(as_text) == files_of(as_numbers)


def test_courses_stay_in_the_platforms_order():
    """Rows are neither sorted nor merged, even when one id comes twice."""
    files = files_of(row(id=3), row(id=1), row(id=3), TOTAL_ROW)
    assert [course.cf_id for course in files.courses] == [3, 1, 3]


@pytest.mark.parametrize(
    "rows",
    [
        [{**row(), "id": 1}, {**row(), "id": 2, "student_id": 5900002}],
        [row()] * 257,
        [row(), *[{"id": []}] * 512],
        [None],
        [[], "x"],
        [row(id=None), TOTAL_ROW],
        [row(id={}, student_id=[], cdata="x", attendance_summary="none")],
    ],
)
def test_course_files_of_another_shape_are_refused(rows):
    """Two students, too many, or no row that is a course: all are BadShape."""
    with pytest.raises(BadShape):
        decode_course_files(body_of(rows))


@pytest.mark.parametrize(
    "body",
    [
        body_of([]),
        body_of([TOTAL_ROW]),
        body_of(None),
        body_of({}),
        b'{"msg":"No record found","response":[]}',
    ],
)
def test_no_course_files_are_an_answer(body):
    """A new student has none: an empty list, null, or PHP's empty array."""
    assert decode_course_files(body).courses == ()


ROWS = json.dumps([row(id=7), row(id=9), TOTAL_ROW])
NUMBERED = json.dumps({"0": row(id=7), "2": row(id=9), "5": TOTAL_ROW})


@pytest.mark.parametrize(
    "response",
    [
        f'{{"data":{NUMBERED}}}',
        ROWS,
        NUMBERED,
        f'{{"data":{{"current_page":1,"data":{ROWS},"last_page":1}}}}',
        f'{{"data":{{"current_page":1,"data":{NUMBERED},"last_page":1}}}}',
    ],
    ids=["numbered", "bare", "bare numbered", "paginator", "paginator numbered"],
)
def test_rows_are_found_where_php_and_its_paginator_put_them(response):
    """A list whose numbering has gaps is written as an object; a page stands around
    its list, and either in the place of the other.
    """
    found = decode_course_files(f'{{"msg":"","response":{response}}}'.encode())
    assert found == files_of(row(id=7), row(id=9), TOTAL_ROW)


@pytest.mark.parametrize(
    "response",
    [
        None,
        [],
        "",
        "Success",
        True,
        {},
        {"message": "OK"},
        {"total": 3},
        {"data": None},
    ],
)
def test_rows_are_found_beside_a_response_without_any(response):
    """What stands in `response` then hides none of the rows in `data`."""
    body = json.dumps({"response": response}).encode()
    found = decode_course_files(body[:-1] + f',"data":{ROWS}}}'.encode())
    assert found == files_of(row(id=7), row(id=9), TOTAL_ROW)


@pytest.mark.parametrize("decode", [decode_course_files, decode_schedule])
@pytest.mark.parametrize(
    ("paging", "kinds"),
    [
        ({}, []),
        ({"total": 1, "last_page": 1, "next_page_url": None}, []),
        ({"total": 2}, ["pages"]),
        ({"meta": {"last_page": 2}}, ["pages"]),
        ({"links": {"next": "https://college.invalid/?page=2"}}, ["pages"]),
    ],
)
def test_a_list_that_goes_on_elsewhere_is_noted(decode, paging, kinds):
    """Such a list comes whole, as far as is known: no second page is asked for."""
    noted = []
    rows = [row(name="September-2025")]
    body = json.dumps({"response": {"data": rows, **paging}}).encode()
    decode(body, lambda kind, _: noted.append(kind))
    assert noted == kinds


def test_rows_in_a_response_are_read_before_others():
    """They are, though `data` beside the response has rows, too."""
    body = f'{{"response":{ROWS},"data":[]}}'.encode()
    assert decode_course_files(body) == files_of(row(id=7), row(id=9), TOTAL_ROW)


def test_data_that_is_no_list_is_none_beside_a_response():
    """An empty response says that there are no rows, and `data` nothing else."""
    assert decode_course_files(b'{"response":[],"data":null}').courses == ()


def test_words_are_read_only_where_there_are_no_rows():
    """A last page may say that there are no more."""
    body = f'{{"msg":"No more records","data":{ROWS}}}'.encode()
    assert decode_course_files(body) == files_of(row(id=7), row(id=9), TOTAL_ROW)


@pytest.mark.parametrize(
    "body",
    [
        b'{"msg":""}',
        b'{"msg":"","response":{}}',
        b'{"msg":"","response":{"data":{"0":"x"}}}',
        b'{"msg":"","response":[1,2]}',
        b'{"msg":"","response":{"data":{"id":7}}}',
        b'{"responseStatus":"Failure","errors":["Invalid URL"]}',
        b'"ok"',
        b"[]",
    ],
)
@pytest.mark.parametrize("decode", [decode_course_files, decode_cards])
def test_an_answer_without_a_list_is_refused(decode, body):
    """What is neither rows nor the absence of rows says nothing of a student."""
    with pytest.raises(BadShape):
        decode(body)


@pytest.mark.parametrize("body", [b"null", b'{"msg":"","response":null}'])
def test_null_says_nothing_of_a_students_courses(body):
    """Nothing else tells whether he has some: no silent zeros."""
    with pytest.raises(BadShape):
        decode_course_files(body)


ODD_ROWS = {
    "null": None,
    "a list": [],
    "text": "x",
    "without id": without(row(), "id"),
    "id null": row(id=None),
    "id blank": row(id=" "),
    "id text": row(id="x"),
    "id true": row(id=True),
    "id negative": row(id=-1),
    "id zero": row(id=0),
    "id too large": row(id=2**53),
    "id huge": row(id=10**400),
}


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("odd", ODD_ROWS.values(), ids=ODD_ROWS.keys())
def test_a_row_that_is_no_course_is_left_out_and_noted(odd, at):
    """It changes nothing of the others, wherever it stands."""
    notes: Counter[str] = Counter()
    rows = [row(id=1), row(id=2), TOTAL_ROW]
    plain = files_of(*rows)
    rows.insert(at, odd)
    files = decode_course_files(body_of(rows), lambda kind, _: notes.update([kind]))
    assert files == plain
    assert notes["row"] == 1


ODD_SUMMARIES: dict[str, Any] = {
    "absent": None,
    "null": {"attendance_summary": None},
    "an empty array": {"attendance_summary": []},
    "empty": {"attendance_summary": {}},
    "percent alone": {"attendance_summary": {"Percent": "66.67%"}},
    "without Present": {"attendance_summary": without(summary(), "Present")},
    "Total and Absent gone": {
        "attendance_summary": without(summary(), "Total", "Absent")
    },
    "nulls": {"attendance_summary": dict.fromkeys(summary())},
    "negative": {"attendance_summary": summary(Present=-1)},
    "text": {"attendance_summary": summary(Present="many")},
    "a dash": {"attendance_summary": summary(Present="-")},
    "true": {"attendance_summary": summary(Present=True)},
    "a list": {"attendance_summary": summary(Present=[13])},
    "out of measure": {"attendance_summary": summary(Present=10**30)},
}


@pytest.mark.parametrize("odd", ODD_SUMMARIES.values(), ids=ODD_SUMMARIES.keys())
@pytest.mark.parametrize("at", [0, 1])
def test_a_row_without_usable_counts_costs_no_other_row_anything(odd, at):
    """Its counts are None and noted; the other row is whole."""
    notes: Counter[str] = Counter()
    broken = without(row(id=2), "attendance_summary") | (odd or {})
    rows = [row(id=1)]
    rows.insert(at, broken)
    files = decode_course_files(body_of(rows), lambda kind, _: notes.update([kind]))
    assert files.courses[at].counts is None
    assert files.courses[1 - at] == files_of(row(id=1)).courses[0]
    assert notes["counts"] == 1


@pytest.mark.parametrize("name", ["Absent", "Leave", "Exempt"])
@pytest.mark.parametrize("odd", [-1, "x", [], True, None, {}])
def test_odd_counts_beside_present_and_total_do_not_matter(name, odd):
    """Only those two are figures of the page."""
    counts = counts_of(**{name: odd})
    assert (counts.present, counts.total) == (13, 19)


@pytest.mark.parametrize(
    ("sent", "present", "total"),
    [
        ({"Present": "31.00", "Total": "40"}, 31, 40),
        ({"Present": "1,031", "Total": "1,040"}, 1031, 1040),
        ({"Present": 30.5, "Total": 40}, 30.5, 40),
        ({"Present": 31.0, "Total": " 40 "}, 31, 40),
        ({"Present": 41, "Total": 40, "Absent": -1}, 41, 40),
    ],
)
def test_counts_are_read_in_every_form(sent, present, total):
    """Text, separators, halves and more present than held are read."""
    counts = counts_of(**sent)
    assert (counts.present, counts.total) == (present, total)


@pytest.mark.parametrize("code", ["TOTAL", " total ", "Total"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_total_row_is_known_in_any_case_and_place(code, at):
    """The Total row is found in any case and place, and is no course."""
    rows = [row(id=1), row(id=2)]
    rows.insert(at, TOTAL_ROW | {"cdata": {"course_code": code}})
    files = files_of(*rows)
    assert [course.cf_id for course in files.courses] == [1, 2]
    assert files.total == Counts(132, 27, 0, 159, "83.02%")


def test_the_total_row_may_be_named_without_a_code():
    """A row named Total without code and id is the Total row."""
    files = files_of(row(id=1), TOTAL_ROW | {"cdata": {"course_name": "Total"}})
    assert [course.cf_id for course in files.courses] == [1]
    assert files.total == Counts(132, 27, 0, 159, "83.02%")


def test_a_course_may_be_called_total():
    """A row named Total with an id is a course."""
    files = files_of(row(id=1, cdata={"course_name": "Total"}), TOTAL_ROW)
    assert [course.name for course in files.courses] == ["Total"]


def test_what_is_odd_is_noted_with_its_shape_and_no_value():
    """A field's name and the type it had; what it said is a student's."""
    notes = []
    odd = row(attendance_summary=summary(Present=["canary"]), batch={"canary": 1})
    decode_course_files(body_of([odd]), lambda *note: notes.append(note))
    assert ("type", "Summary.Present: list") in notes
    assert ("type", "Row.batch: dict") in notes
    assert "canary" not in str(notes)


def test_without_a_total_row_every_row_is_a_course():
    """The last course is not swallowed when the platform sends no Total."""
    files = files_of(row(id=1), row(id=2))
    assert len(files.courses) == 2
    assert files.total is None


@pytest.mark.parametrize("name", ["Present", "Total"])
def test_a_total_row_without_its_figures_counts_as_none(name):
    """A null in the Total row is not read as a total of zero."""
    empty = without(summary(**{name: None}), "Absent")
    files = files_of(row(), TOTAL_ROW | {"attendance_summary": empty})
    assert files.total is None


def test_a_second_total_row_without_figures_hides_none():
    """Of two Total rows the one with figures is the page's sum."""
    empty = TOTAL_ROW | {"attendance_summary": None}
    assert files_of(row(), TOTAL_ROW, empty).total == files_of(row(), TOTAL_ROW).total
    assert files_of(row(), empty, TOTAL_ROW).total is not None


def test_absent_missing_is_what_the_others_leave_of_total():
    """It is computed as the platform's own clients do, never below zero."""
    assert counts_of(Absent=None, Leave=2, Exempt=1).absent == 3
    assert counts_of(Absent=None, Present=20).absent == 0
    assert counts_of(Absent=5).absent == 5  # as sent, though the sum is 18 of 19


def test_total_missing_is_the_sum_of_the_others():
    """A null Total beside counted classes does not hide them."""
    assert counts_of(Total=None, Leave=2, Exempt=1).total == 22


@pytest.mark.parametrize(
    ("cdata", "name"),
    [
        ({"course_code": "BCS503"}, "BCS503"),
        ({"course_code": "BCS503", "course_name": " \r\n"}, "BCS503"),
        ({"course_name": None}, "7300101"),
        ({"course_code": ["BCS503"]}, "7300101"),
        (None, "7300101"),
        ([], "7300101"),
        ("x", "7300101"),
    ],
)
def test_a_course_is_never_without_a_name(cdata, name):
    """Its code stands in, and its id where there is no code; that is noted."""
    notes: Counter[str] = Counter()
    sent = body_of([row(cdata=cdata)])
    files = decode_course_files(sent, lambda kind, _: notes.update([kind]))
    (course,) = files.courses
    assert (course.name, course.counts) == (name, files_of(row()).courses[0].counts)
    assert notes["name"] == 1


def test_what_describes_the_student_comes_from_the_first_row_that_has_it():
    """A first row with gaps does not leave batch, section, branch and id empty."""
    gaps = row(batch=None, section="", dept=" ", student_id=None)
    files = files_of(gaps, row(id=2))
    described = (files.batch, files.section, files.branch, files.student_id)
    assert described == ("2027", "C", "IT", 5900001)


def test_a_student_the_platform_does_not_name_is_none():
    """Nothing is invented where no row tells the student or the class."""
    names = ("batch", "section", "dept", "student_id")
    files = files_of(without(row(), *names))
    assert files.student_id is None
    assert (files.batch, files.section, files.branch) == ("", "", "")
