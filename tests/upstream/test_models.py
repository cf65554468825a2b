"""The platform's answers decoded: what is taken, what is refused, what is kept."""

import json
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aims_server.upstream import models
from aims_server.upstream.models import (
    BadShape,
    Card,
    CardsPage,
    Counts,
    Course,
    CourseFiles,
    LoginBody,
    Quizzes,
)

DECODERS: dict[Any, type] = {
    models.decode_course_files: CourseFiles,
    models.decode_cards: CardsPage,
    models.decode_quizzes: Quizzes,
    models.read_login: LoginBody,
}
TOTAL_ROW = {
    "cdata": {"course_code": "Total"},
    "attendance_summary": {"Percent": "83.02%", "Total": 159, "Present": 132},
}
QUIZ = {
    "sl_num": 1,
    "quiz_uc": "A1B2",
    "quiz_link": '<a href="https://quiz.invalid/#/quiz-1">View</a>',
    "master_course_code": "BCS503",
    "student_name": "ASHA EXAMPLE",
    "roll_number": None,
    "admission_number": "2023B1599999",
    "marks_obtained": 7,
    "correct": None,
    "incorrect": "2",
    "not_attempted": 1,
    "loggedin_at": "2025-09-03 13:51:31",
    "status": "Evaluated",
}


def body_of(rows):
    """The rows in the platform's envelope."""
    return json.dumps({"msg": "", "response": {"data": rows}}).encode()


def row(**changes):
    """A course file as docs/platform.rst 2.2 has it, the given fields changed."""
    whole_row = {
        "id": 7300101,
        "cf_code": "18374_7293001_769_962__C",
        "batch": "2027",
        "section": "C",
        "faculty_name": "R SHARMA",
        "dept": "IT",
        "semester": 5,
        "status": "InProgress",
        "cdata": {
            "course_code": "BCS503",
            "course_name": " Design and Analysis of\r\nAlgorithm Lab",
            "students_count_formatted": 69,
        },
        "student_id": 5900001,
        "entity": "CF",
        "attendance_summary": summary(),
    }
    return whole_row | changes


def summary(**changes):
    """The counts of a course file, the given ones changed."""
    counts = {"Present": 13, "Absent": 6, "Exempt": 0, "Leave": 0, "Total": 19}
    return counts | {"Percent": "68.42%"} | changes


def without(mapping, *names):
    """The mapping with fields left out."""
    return {name: value for name, value in mapping.items() if name not in names}


def files_of(*rows):
    """The rows, sent and decoded as course files."""
    return models.decode_course_files(body_of(rows))


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
                counts=Counts(13, 6, 0, 0, 19, "68.42%"),
            ),
        ),
        total=Counts(132, 27, 0, 0, 159, "83.02%"),
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
        [None],
        [[], "x"],
        [row(id=None), TOTAL_ROW],
        [row(id={}, student_id=[], cdata="x", attendance_summary="none")],
    ],
)
def test_course_files_of_another_shape_are_refused(rows):
    """Two students, too many, or no row that is a course: all are BadShape."""
    with pytest.raises(BadShape):
        models.decode_course_files(body_of(rows))


@pytest.mark.parametrize(
    "body",
    [
        body_of([]),
        body_of([TOTAL_ROW]),
        body_of(None),
        b'{"msg":"No record found","response":[]}',
    ],
)
def test_no_course_files_are_an_answer(body):
    """A new student has none: an empty list, null, or PHP's empty array."""
    assert models.decode_course_files(body).courses == ()


@pytest.mark.parametrize(
    "body",
    [
        b'{"msg":""}',
        b'{"msg":"","response":null}',
        b'{"msg":"","response":{}}',
        b'{"msg":"","response":{"data":{"0":"x"}}}',
        b'{"msg":"","response":[1,2]}',
        b'{"responseStatus":"Failure","errors":["Invalid URL"]}',
        b'"ok"',
        b"[]",
    ],
)
@pytest.mark.parametrize("decode", [models.decode_course_files, models.decode_cards])
def test_an_answer_without_a_list_is_refused(decode, body):
    """What is neither rows nor the absence of rows says nothing of a student."""
    with pytest.raises(BadShape):
        decode(body)


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
    files = models.decode_course_files(
        body_of(rows), lambda kind, _: notes.update([kind])
    )
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
    files = models.decode_course_files(
        body_of(rows), lambda kind, _: notes.update([kind])
    )
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
    """As text, with thousands parted, in halves, and more present than held."""
    counts = counts_of(**sent)
    assert (counts.present, counts.total) == (present, total)


@pytest.mark.parametrize("cdata", [None, [], "x", {"course_code": ["BCS503"]}])
def test_a_row_without_naming_is_called_by_its_id(cdata):
    """A course is never left out because it has no name."""
    course = files_of(row(cdata=cdata)).courses[0]
    assert (course.code, course.name, course.counts.present) == ("", "7300101", 13)


@pytest.mark.parametrize("code", ["TOTAL", " total ", "Total"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_total_row_is_known_in_any_case_and_place(code, at):
    """And is never a course."""
    rows = [row(id=1), row(id=2)]
    rows.insert(at, TOTAL_ROW | {"cdata": {"course_code": code}})
    files = files_of(*rows)
    assert [course.cf_id for course in files.courses] == [1, 2]
    assert files.total == Counts(132, 27, 0, 0, 159, "83.02%")


def test_what_is_odd_is_noted_with_its_shape_and_no_value():
    """A field's name and the type it had; what it said is a student's."""
    notes = []
    odd = row(attendance_summary=summary(Present=["canary"]), batch={"canary": 1})
    models.decode_course_files(body_of([odd]), lambda *note: notes.append(note))
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


def test_absent_missing_is_what_the_others_leave_of_total():
    """As the platform's own clients fill it, and never below zero."""
    assert counts_of(Absent=None, Leave=2, Exempt=1).absent == 3
    assert counts_of(Absent=None, Present=20).absent == 0


def test_total_missing_is_the_sum_of_the_others():
    """A null Total beside counted classes does not hide them."""
    assert counts_of(Total=None, Leave=2, Exempt=1).total == 22


@pytest.mark.parametrize(
    ("cdata", "name"),
    [
        ({"course_code": "BCS503"}, "BCS503"),
        ({"course_code": "BCS503", "course_name": " \r\n"}, "BCS503"),
        ({"course_name": None}, "7300101"),
    ],
)
def test_a_course_is_never_without_a_name(cdata, name):
    """Its code stands in, and its id where there is no code."""
    assert files_of(row(cdata=cdata)).courses[0].name == name


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


text = st.text(max_size=12)
whole = st.integers(min_value=0, max_value=2**53 - 1)
count = whole | st.integers(0, 999).map(lambda halves: halves + 0.5)
all_counts = st.builds(
    Counts, count, count, count, count, count, st.none() | text.filter(bool)
)
all_files = st.builds(
    CourseFiles,
    st.lists(
        st.builds(Course, whole, text, text, st.none() | all_counts), max_size=5
    ).map(tuple),
    st.none() | all_counts,
    st.none() | whole,
    text,
    text,
    text,
)


@settings(deadline=None)
@given(all_files)
def test_packing_loses_nothing(files):
    """What is kept packed is unpacked equal."""
    assert models.unpack_course_files(models.pack_course_files(files)) == files


def test_packed_course_files_are_small():
    """Eighteen courses take less than 2 KiB of the cache."""
    files = files_of(*(row(id=n) for n in range(18)), TOTAL_ROW)
    assert len(models.pack_course_files(files)) < 2048


def cards_of(*records):
    """The records, sent and decoded as cards."""
    return models.decode_cards(body_of(records))


def test_a_record_keeps_the_platforms_texts():
    """Mark, start, wording and teacher are passed on as sent, other fields are not."""
    sent = {
        "id": 91000001,
        "type": "L",
        "state": "Absent",
        "status": "Present",
        "start_time": "2025-09-01 08:50:00",
        "date_formatted": "08:50AM - 09:40AM 01/Sep/2025",
        "faculty_name": "R SHARMA",
    }
    (card,) = cards_of(sent).cards
    assert card == Card(
        state="Absent",
        start_time="2025-09-01 08:50:00",
        date_formatted="08:50AM - 09:40AM 01/Sep/2025",
        faculty_name="R SHARMA",
        id=91000001,
    )


DATED = {"start_time": "2025-09-01 08:50:00", "date_formatted": ""}


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ({"status": "Leave"}, "Leave"),
        ({"state": None, "status": "Leave"}, "Leave"),
        ({"state": " ", "status": "Leave"}, "Leave"),
        ({"state": "Present", "status": 1}, "Present"),
        ({"state": 5}, ""),
        ({"status": 1}, ""),
        ({"state": ["Present"]}, ""),
        ({"attendance_status": "Present"}, ""),
        ({}, ""),
    ],
)
def test_the_mark_is_the_state_else_the_status(record, state):
    """`state` decides; `status` speaks only where there is none; both are text."""
    assert [card.state for card in cards_of(record | DATED).cards] == [state]


def test_no_records_are_a_normal_answer():
    """A course whose classes have not begun has none."""
    assert cards_of().cards == ()


GOOD = {"state": "Present", **DATED}


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("odd", [None, "Present", [], 7, {}, {"id": 3}, {"state": " "}])
def test_a_row_that_is_no_record_is_left_out_and_noted(odd, at):
    """What has neither mark nor date is no class; the others are as they were."""
    notes: Counter[str] = Counter()
    rows = [GOOD | {"id": 1}, GOOD | {"id": 2}]
    plain = cards_of(*rows)
    rows.insert(at, odd)
    page = models.decode_cards(body_of(rows), lambda kind, _: notes.update([kind]))
    assert page.cards == plain.cards
    assert notes["row"] == 1


@pytest.mark.parametrize(
    "odd",
    [
        {"start_time": 1756700000},
        {"date_formatted": {}},
        {"start_time": None},
        {"faculty_name": []},
        {"id": {}},
        {"start_time": "x" * 1000},
    ],
)
def test_an_odd_field_costs_its_record_that_field_alone(odd):
    """The mark still counts, and the other record is whole."""
    one, other = cards_of(GOOD | {"id": 1} | odd, GOOD | {"id": 2}).cards
    assert one.state == "Present"
    assert len(one.start_time) <= 80
    assert other == cards_of(GOOD | {"id": 2}).cards[0]


@pytest.mark.parametrize("rows", [[1, "two", None], [{}], [{"id": {}, "state": 7}]])
def test_records_of_which_none_is_one_are_refused(rows):
    """To read them as no classes would be inventing zeros."""
    with pytest.raises(BadShape):
        cards_of(*rows)


def test_whose_records_they_are_is_told():
    """By `fk_student` or `student_id`, a number or its text; two are refused."""
    named = GOOD | {"fk_student": "5900001"}
    assert cards_of(named, GOOD | {"student_id": 5900001}).student_id == 5900001
    assert cards_of(GOOD).student_id is None
    with pytest.raises(BadShape):
        cards_of(named, GOOD | {"student_id": 5900002})


def merged(*pages):
    """The pages, each a list of records, put together."""
    return models.merge_pages([cards_of(*page) for page in pages])


def test_the_same_record_counts_once():
    """Equal ids are one record; without an id no two are the same."""
    one, two = GOOD | {"id": 1}, GOOD | {"id": 2}
    assert len(merged([one, two, one]).cards) == 2
    assert len(merged([GOOD, GOOD]).cards) == 2
    assert len(merged([GOOD | {"id": 0}] * 3).cards) == 3


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 5), max_size=12), st.randoms())
def test_no_mark_is_counted_twice_in_whatever_order(ids, random):
    """One record for each id, the same ones however they are sent."""
    rows = [
        GOOD | {"id": number, "start_time": f"2025-09-0{1 + nth % 9} 08:50:00"}
        for nth, number in enumerate(ids)
    ]
    shuffled = random.sample(rows, len(rows))
    assert len(merged(rows).cards) == len(set(ids))
    assert set(merged(rows).cards) == set(merged(shuffled).cards)


def paged(rows, **about):
    """One page of records, with what its envelope says of the others."""
    body = {"msg": "", "response": {"data": rows, **about}}
    return models.decode_cards(json.dumps(body).encode())


PAGES = [[GOOD | {"id": 10 * page + n} for n in range(3)] for page in range(4)]


@pytest.mark.parametrize(
    ("pages", "more"),
    [
        ([paged(PAGES[0])], False),
        ([paged(PAGES[0], last_page=1, total=3)], False),
        ([paged(PAGES[0], last_page=2)], True),
        ([paged(PAGES[0], last_page="2")], True),
        ([paged(PAGES[0], total=4)], True),
        ([paged(PAGES[0], total=3)], False),
        ([paged(PAGES[0], next_page_url="/cards?page=2")], True),
        ([paged(PAGES[0], next_page_url=None)], False),
        ([paged(PAGES[0], last_page=2), paged(PAGES[1], last_page=2)], False),
        ([paged(PAGES[0], last_page=3), paged(PAGES[1], last_page=3)], True),
        ([paged(PAGES[0], last_page=3), paged(PAGES[0], last_page=3)], False),
        ([paged(PAGES[0], last_page=3), paged([], last_page=3)], False),
        ([paged([], last_page=3)], False),
        ([paged(PAGES[0], last_page=[], total={})], False),
    ],
)
def test_an_answer_says_whether_there_is_more(pages, more):
    """By its last page, its total, or its link; a repeated page is the end."""
    assert models.more_follows(pages) is more


@pytest.mark.parametrize(
    ("pages", "records", "complete"),
    [
        ([paged(PAGES[0])], 3, True),
        ([paged(PAGES[0], last_page=2), paged(PAGES[1])], 6, True),
        ([paged(PAGES[0], last_page=2), paged(PAGES[0])], 3, False),
        ([paged(PAGES[0], last_page=2), paged([])], 3, False),
        ([paged(PAGES[0], total=9), paged(PAGES[1])], 6, False),
        ([paged(PAGES[0], next_page_url="x"), paged([])], 3, True),
    ],
)
def test_pages_put_together_know_whether_they_are_all(pages, records, complete):
    """A page that repeats the first is not counted again."""
    cards = models.merge_pages(pages)
    assert (len(cards.cards), cards.complete) == (records, complete)


def test_four_thousand_records_are_decoded_within_ten_milliseconds():
    """The event loop is not held longer, however full a course is."""
    record = {
        "id": 91000001,
        "type": "L",
        "state": "Absent",
        "status": "Absent",
        "start_time": "2025-09-01 08:50:00",
        "end_time": "2025-09-01 09:40:00",
        "date_formatted": "08:50AM - 09:40AM 01/Sep/2025",
        "faculty_name": "R SHARMA",
    }
    body = body_of([record] * 4000)
    assert quickest(lambda: models.decode_cards(body)) < 0.010


def quickest(work):
    """Seconds of processor time of the best of five runs: what the work needs."""
    times = []
    for _ in range(5):
        begun = time.thread_time()
        work()
        times.append(time.thread_time() - begun)
    return min(times)


@pytest.mark.parametrize(
    "body",
    [
        body_of([QUIZ, QUIZ | {"marks_obtained": -1}]),
        body_of([QUIZ | {"status": True}]),
        body_of([QUIZ | {"quiz_link": 5, "loggedin_at": {}}]),
        body_of([QUIZ, None, "A1B2"]),
    ],
)
def test_quizzes_are_passed_on_whatever_is_in_them(body):
    """Byte for byte; only whose they are is read."""
    assert models.decode_quizzes(body) == Quizzes(body, "2023B1599999")


@pytest.mark.parametrize(
    "body",
    [
        body_of([]),
        body_of(None),
        body_of([without(QUIZ, "admission_number")]),
        b'{"msg":"No record found","response":[]}',
        b"{}",
    ],
)
def test_quizzes_that_name_nobody_are_passed_on_too(body):
    """No quiz is an answer; it speaks for nobody."""
    assert models.decode_quizzes(body) == Quizzes(body, None)


def test_quizzes_of_two_students_are_nobodys():
    """A mix-up at the platform goes no further."""
    with pytest.raises(BadShape):
        models.decode_quizzes(
            body_of([QUIZ, QUIZ | {"admission_number": "2023B1599998"}])
        )


@pytest.mark.parametrize(
    ("body", "token"),
    [
        (b'{"status":1,"token":"a.b.c","response":{"id":1}}', "a.b.c"),
        (b'{"status":0,"msg":"Invalid"}', None),
        (b'{"token":""}', None),
        (b'{"token":" "}', None),
        (b'{"token":null}', None),
        (b'{"token":5}', None),
        (b'{"token":{"token":"a"}}', None),
        (b'{"response":{"token":"a"}}', None),
        (b"{}", None),
    ],
)
def test_the_token_of_a_login_is_its_top_level_text(body, token):
    """Anything but text at the top level is no token."""
    assert models.read_login(body).token == token


@pytest.mark.parametrize(
    ("body", "text", "refuses"),
    [
        ({"status": 0, "msg": "Account locked"}, "Account locked", True),
        ({"message": "Try again"}, "Try again", False),
        ({"response": "Wrong password"}, "Wrong password", True),
        ({"msg": ""}, None, False),
    ],
)
def test_a_login_says_what_the_platform_says(body, text, refuses):
    """In the first field of words; about the account or not."""
    said = models.read_login(json.dumps(body).encode())
    assert (said.text, said.refuses) == (text, refuses)


@pytest.mark.parametrize(
    ("response", "whose"),
    [
        ({"id": 5900001, "username": "2023b1599999"}, (5900001, "2023B1599999")),
        ({"id": [], "username": "2023B1599999"}, (None, "2023B1599999")),
        ("Wrong password", (None, None)),
        ([], (None, None)),
    ],
)
def test_a_login_says_whose_it_is(response, whose):
    """The number and the admission number, where there are any."""
    body = json.dumps({"token": "a.b.c", "response": response}).encode()
    said = models.read_login(body)
    assert (said.student_id, said.admission_number) == whose


@pytest.mark.parametrize("body", [b"[]", b'"a"', b"null", b"5", b"<html>", b""])
def test_a_login_answer_that_is_no_object_is_refused(body):
    """There is nothing in it to pass on to a student."""
    with pytest.raises(BadShape):
        models.read_login(body)


DEEP = b"[" * 10_000 + b"]" * 10_000
BROKEN = {
    "nothing": b"",
    "html": b"<!DOCTYPE html><html></html>",
    "truncated": body_of([row(), TOTAL_ROW])[:-20],
    "two values": body_of([row()]) + b"{}",
    "deep where it is read": b'{"response":' + DEEP + b',"token":' + DEEP + b"}",
    "deep where it is skipped": b'{"response":{"data":[]},"x":' + DEEP + b"}",
    "deep and unfinished": b'{"x":' + b'{"y":' * 100_000,
    "NaN": b'{"response":{"data":[]},"token":NaN}',
    "NaN where it is skipped": b'{"response":{"data":[]},"x":NaN}',
    "infinity": b'{"response":{"data":[]},"x":-Infinity}',
    "half a surrogate pair": b'{"response":{"data":[]},"x":"\\ud800"}',
    "a raw NUL": b'{"response":{"data":[]},"x":"\x00"}',
}


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_sound_json_is_refused(decode, body):
    """Broken, hostile or foreign bodies raise BadShape, even in unknown fields."""
    with pytest.raises(BadShape):
        decode(body)


def test_a_byte_order_mark_is_skipped():
    """Wherever it comes, and it is noted."""
    notes = []
    body = b"\xef\xbb\xbf" + body_of([row()])
    files = models.decode_course_files(body, lambda kind, _: notes.append(kind))
    assert files == files_of(row())
    assert notes == ["encoding"]
    assert models.decode_quizzes(b"\xef\xbb\xbf{}").body == b"{}"


def test_what_is_not_utf8_becomes_the_replacement_character():
    """One name's bytes cost nobody the page."""
    latin = body_of([row(section="@")]).replace(b"@", "\xe9".encode("latin-1"))
    assert models.decode_course_files(latin).section == "\ufffd"
    assert models.decode_quizzes(b'{"msg":"\xff"}').body == '{"msg":"\ufffd"}'.encode()


@pytest.mark.parametrize("value", [b"9" * 30, b"9" * 4000, b"-1", b"1e300"])
def test_numbers_out_of_all_measure_are_no_counts(value):
    """What a browser could not hold exactly is not taken for a count."""
    body = body_of([row(attendance_summary=summary(Present="@"))])
    files = models.decode_course_files(body.replace(b'"@"', value))
    assert files.courses[0].counts is None


def test_control_characters_in_names_survive_encoding():
    """An escaped NUL is legal text and must not break the page it lands on."""
    cdata = {"course_code": "A\0", "course_name": "B\0"}
    course = files_of(row(cdata=cdata)).courses[0]
    assert json.loads(msgspec.json.encode(course.name)) == "B\0"


fields = st.sampled_from(["response", "data", "cdata", "token"]) | st.sampled_from(
    ["attendance_summary", "id", "student_id", "state", "status", "Present", "Total"]
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["Total", "Present", "5", "68.42%"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=4)
    ),
    max_leaves=12,
)
mutated_rows = st.fixed_dictionaries(
    {
        "id": json_values | whole,
        "cdata": json_values | st.just({"course_code": "Total"}),
        "attendance_summary": json_values | st.just(summary()),
        "student_id": json_values,
        "state": json_values,
        "status": json_values,
        "start_time": json_values,
    }
)


@settings(deadline=None, max_examples=100)
@given(
    st.binary(max_size=80)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.lists(mutated_rows | st.just(row()), max_size=3).map(body_of)
)
def test_decoding_raises_nothing_but_bad_shape(body):
    """Whatever bytes come, there is a value of the promised type or a BadShape."""
    for decode, promised in DECODERS.items():
        with suppress(BadShape):
            assert isinstance(decode(body), promised)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.integers(1, 9).map(lambda n: row(id=n)), min_size=1, max_size=4),
    mutated_rows | json_values,
    st.data(),
)
def test_an_odd_row_anywhere_changes_nothing_of_the_others(rows, odd, data):
    """Whatever breaks in one row, the others are read as if it were not there."""
    assume("NaN" not in json.dumps(odd) and "Infinity" not in json.dumps(odd))
    if isinstance(odd, dict):
        odd = odd | {"student_id": None}  # another student's would refuse them all
    at = data.draw(st.integers(0, len(rows)))
    plain = files_of(*rows).courses
    files = files_of(*rows[:at], odd, *rows[at:]).courses
    assert files[:at] == plain[:at]
    assert files[len(files) - len(plain) + at :] == plain[at:]
    assert len(files) - len(plain) in (0, 1)
