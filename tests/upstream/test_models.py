"""The platform's answers decoded: what is taken, what is refused, what is kept."""

import json
import time
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.upstream import models
from aims_server.upstream.models import (
    BadShape,
    Card,
    Counts,
    Course,
    CourseFiles,
)

DECODERS = {
    models.decode_course_files: CourseFiles,
    models.decode_cards: tuple,
    models.check_quizzes: int,
    models.login_token: str | None,
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
        [],
        [TOTAL_ROW],
        [TOTAL_ROW, row()],
        [row(), TOTAL_ROW, TOTAL_ROW],
        [without(row(), "id")],
        [row(id=None)],
        [row(id=" ")],
        [row(id="x")],
        [row(id=True)],
        [row(id=-1)],
        [row(id=2**53)],
        [row(id=10**400)],
        [row(), row(student_id=5900002)],
        [without(row(), "attendance_summary")],
        [row(attendance_summary=None)],
        [row(attendance_summary={})],
        [row(attendance_summary=without(summary(), "Present"))],
        [row(attendance_summary=without(summary(), "Total"))],
        [row(attendance_summary=summary(Present=-1))],
        [row(attendance_summary=summary(Present="many"))],
        [row(attendance_summary=summary(Leave=0.5))],
        [row(attendance_summary=summary(Percent=[]))],
        [row(cdata=None)],
        [row(cdata={"course_code": ["BCS503"]})],
        [None],
        [[]],
        [row()] * 257,
    ],
)
def test_course_files_of_another_shape_are_refused(rows):
    """No course, no id, two students, no figures or wrong types: all are BadShape."""
    with pytest.raises(BadShape):
        models.decode_course_files(body_of(rows))


def test_a_last_row_without_id_is_no_total_row_unless_it_says_so():
    """Only the code "Total" makes a row the Total row."""
    nameless = {"cdata": {}, "attendance_summary": summary()}
    with pytest.raises(BadShape):
        files_of(row(), nameless)


def test_without_a_total_row_every_row_is_a_course():
    """The last course is not swallowed when the platform sends no Total."""
    files = files_of(row(id=1), row(id=2))
    assert len(files.courses) == 2
    assert files.total is None


@pytest.mark.parametrize("name", ["Present", "Total"])
def test_a_total_row_without_its_figures_counts_as_none(name):
    """A null in the Total row is not read as a total of zero."""
    empty = summary(**{name: None})
    files = files_of(row(), TOTAL_ROW | {"attendance_summary": empty})
    assert files.total is None


def test_a_course_without_a_class_yet_counts_zero():
    """Sums over no rows may be null; the percentage is then not known."""
    nulls = dict.fromkeys(summary())
    assert counts_of(**nulls) == Counts(0, 0, 0, 0, 0, None)


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
all_counts = st.builds(
    Counts, whole, whole, whole, whole, whole, st.none() | text.filter(bool)
)
all_files = st.builds(
    CourseFiles,
    st.lists(st.builds(Course, whole, text, text, all_counts), max_size=5).map(tuple),
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
    """Mark, start and wording are passed on as sent, unknown fields are not."""
    sent = {
        "id": 91000001,
        "type": "L",
        "state": "Absent",
        "status": "Present",
        "start_time": "2025-09-01 08:50:00",
        "date_formatted": "08:50AM - 09:40AM 01/Sep/2025",
    }
    (card,) = cards_of(sent)
    assert card == Card(
        state="Absent",
        start_time="2025-09-01 08:50:00",
        date_formatted="08:50AM - 09:40AM 01/Sep/2025",
    )


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ({"status": "Leave"}, "Leave"),
        ({"state": None, "status": "Leave"}, "Leave"),
        ({"state": " ", "status": "Leave"}, "Leave"),
        ({"state": "Present", "status": 1}, "Present"),
        ({}, ""),
    ],
)
def test_the_mark_is_the_state_else_the_status(record, state):
    """`state` decides; `status` speaks only where there is no `state`."""
    assert cards_of(record) == (Card(state, "", ""),)


def test_no_records_are_a_normal_answer():
    """A course whose classes have not begun has none."""
    assert cards_of() == ()


@pytest.mark.parametrize(
    "record",
    [
        {"state": 5},
        {"status": 5},
        {"state": ["Present"]},
        {"start_time": 1756700000},
        {"date_formatted": {}},
        None,
        "Present",
    ],
)
def test_a_record_of_wrong_types_is_refused(record):
    """One bad record makes the answer unusable: its totals would be wrong."""
    with pytest.raises(BadShape):
        cards_of({"state": "Present"}, record)


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


def test_quizzes_are_counted():
    """The documented row, nulls and numbers as text included, is sound."""
    assert models.check_quizzes(body_of([QUIZ, QUIZ])) == 2
    assert models.check_quizzes(body_of([])) == 0


@pytest.mark.parametrize(
    "quiz",
    [
        QUIZ | {"quiz_link": 5},
        QUIZ | {"marks_obtained": [7]},
        QUIZ | {"correct": True},
        QUIZ | {"loggedin_at": {}},
        "A1B2",
        None,
    ],
)
def test_quizzes_of_wrong_types_are_refused(quiz):
    """A body that a frontend could not read is not passed on."""
    with pytest.raises(BadShape):
        models.check_quizzes(body_of([quiz]))


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
    assert models.login_token(body) == token


@pytest.mark.parametrize("body", [b"[]", b'"a"', b"null", b"5", b"<html>", b""])
def test_a_login_answer_that_is_no_object_is_refused(body):
    """There is nothing in it to pass on to a student."""
    with pytest.raises(BadShape):
        models.login_token(body)


DEEP = b"[" * 10_000 + b"]" * 10_000
BROKEN = {
    "nothing": b"",
    "html": b"<!DOCTYPE html><html></html>",
    "truncated": body_of([row(), TOTAL_ROW])[:-20],
    "two values": body_of([row()]) + b"{}",
    "a byte order mark": b"\xef\xbb\xbf" + body_of([row()]),
    "deep where it is read": b'{"response":' + DEEP + b',"token":' + DEEP + b"}",
    "deep where it is skipped": b'{"response":{"data":[]},"x":' + DEEP + b"}",
    "deep and unfinished": b'{"x":' + b'{"y":' * 100_000,
    "NaN": b'{"response":{"data":[]},"token":NaN}',
    "NaN where it is skipped": b'{"response":{"data":[]},"x":NaN}',
    "infinity": b'{"response":{"data":[]},"x":-Infinity}',
    "not UTF-8": b'{"response":{"data":[]},"token":"\xff"}',
    "not UTF-8 where it is skipped": b'{"response":{"data":[]},"x":"\xff"}',
    "a surrogate in UTF-8": b'{"response":{"data":[]},"x":"\xed\xa0\x80"}',
    "half a surrogate pair": b'{"response":{"data":[]},"x":"\\ud800"}',
    "a raw NUL": b'{"response":{"data":[]},"x":"\x00"}',
}


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_sound_json_is_refused(decode, body):
    """Broken, hostile or foreign bodies raise BadShape, even in unknown fields."""
    with pytest.raises(BadShape):
        decode(body)


@pytest.mark.parametrize("value", [b"1e400", b"9" * 30, b"9" * 5000, b"-1", b"1e300"])
def test_numbers_out_of_all_measure_are_refused(value):
    """What a browser could not hold exactly is not taken for a count."""
    body = body_of([row(attendance_summary=summary(Present="@"))])
    with pytest.raises(BadShape):
        models.decode_course_files(body.replace(b'"@"', value))


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
