import re
from collections import Counter
from datetime import date, datetime

import pytest

from aims_server.demo import pages
from aims_server.demo.college import College
from aims_server.demo.records import attendance_summary
from aims_server.demo.shapes import CARD_SHAPES
from aims_server.demo.switches import Switches

COLLEGE = College(students=200)
STUDENTS = [COLLEGE.student(index) for index in (0, 1, 2, 23, 24, 199)]


def course_rows(switches=None):
    """The course rows of student 0, and the last row apart."""
    rows = COLLEGE.course_files(STUDENTS[0], switches or Switches())
    return rows[:-1], rows[-1]


def test_students_follow_from_the_seed():
    """Two colleges of one seed are the same, of two seeds are not."""
    assert list(College(students=40)) == list(College(students=40))
    assert College(seed=2).student(0) != College(seed=1).student(0)


def test_students_are_distinct():
    """No two students share an id, a user name or a password."""
    for key in ("id", "username", "password"):
        assert len({getattr(student, key) for student in COLLEGE}) == 200


def test_usernames_have_the_known_form():
    """An admission number is a year, a B and seven digits, found in either case."""
    for student in STUDENTS:
        assert re.fullmatch(r"\d{4}B\d{7}", student.username)
        assert COLLEGE.by_username(student.username.lower()) == student


@pytest.mark.parametrize(
    "username", ["", "2023B1500200", "2022B1500001", "2023B15-0001", "2023B15000010"]
)
def test_unknown_usernames_are_nobody(username):
    """A name that no student bears finds no student."""
    assert COLLEGE.by_username(username) is None


def test_ids_outside_the_college_are_nobody():
    """Only ids that were given out find a student."""
    assert COLLEGE.by_id(STUDENTS[0].id) == STUDENTS[0]
    assert COLLEGE.by_id(STUDENTS[0].id - 1) is None
    assert COLLEGE.by_id(STUDENTS[0].id + 200) is None


def test_indices_and_sizes_are_checked():
    """An index past the last student, and a college too large, are errors."""
    with pytest.raises(IndexError):
        COLLEGE.student(200)
    with pytest.raises(ValueError, match="students"):
        College(students=100_001)


def test_secrets_stay_out_of_the_representation():
    """A printed student shows neither password nor PIN."""
    shown = repr(STUDENTS[0])
    assert STUDENTS[0].password not in shown
    assert STUDENTS[0].pin not in shown


def test_tokens_start_alike_and_live_700_days():
    """Tokens share 36 characters and more, name their student, and end in time."""
    tokens = [COLLEGE.token(student, issued=1_000_000) for student in STUDENTS]
    assert len({token[:36] for token in tokens}) == 1
    assert len(set(tokens)) == len(tokens)
    end = 1_000_000 + 60_480_000
    for student, token in zip(STUDENTS, tokens, strict=True):
        claims = COLLEGE.claims(token)
        assert claims is not None
        assert (claims.sub, claims.exp) == (student.id, end)


@pytest.mark.parametrize("change", [lambda t: t[:-2], lambda t: t + "A", lambda _: ""])
def test_forged_tokens_are_nobodys(change):
    """A token with another signature, and no token, name no student."""
    assert COLLEGE.claims(change(COLLEGE.token(STUDENTS[0]))) is None


def test_tokens_of_another_college_are_nobodys():
    """The key follows from the seed, too."""
    assert COLLEGE.claims(College(seed=2).token(STUDENTS[0])) is None


def test_two_logins_of_one_second_differ():
    """The serial number makes another token of the same student."""
    first, second = (COLLEGE.token(STUDENTS[0], serial=serial) for serial in (1, 2))
    assert first != second
    claims = COLLEGE.claims(second)
    assert claims is not None
    assert claims.sub == STUDENTS[0].id


def test_the_same_arguments_give_the_same_token():
    """Whenever it is asked for: tests ask for a student's token at each request."""
    college = College()
    college._opened -= 1
    assert college.token(STUDENTS[0]) == college.token(
        STUDENTS[0], issued=college._opened
    )


def test_summaries_equal_the_records():
    """Each course's summary counts exactly its cards."""
    for student in STUDENTS:
        for row in COLLEGE.course_files(student)[:-1]:
            cards = COLLEGE.cards(student, row["id"])
            counts = Counter(card["state"] for card in cards)
            summary = row["attendance_summary"]
            for state in ("Present", "Absent", "Leave", "Exempt"):
                assert summary[state] == counts[state]
            assert summary["Total"] == len(cards)


def test_total_row_is_as_captured():
    """The last row has two keys, no id, and the plain sums of the others."""
    courses, total = course_rows()
    sums = {
        key: sum(row["attendance_summary"][key] for row in courses)
        for key in ("Total", "Present")
    }
    share = f"{round(100 * sums['Present'] / sums['Total'], 2):g}%"
    assert total == {
        "cdata": {"course_code": "Total"},
        "attendance_summary": {"Percent": share} | sums,
    }


@pytest.mark.parametrize("weeks", [0, 1, 12])
def test_quizzes_lie_in_the_past(weeks):
    """Evaluated ones, also where the term has only begun."""
    college = College(students=40, weeks=weeks, today=date(2026, 9, 8))
    for student in college:
        for quiz in pages.quizzes(college, student, "token"):
            assert quiz["loggedin_at"][:10] <= "2026-09-08"


def test_percentages_are_rounded_half_up():
    """They are rounded as PHP does it, and as the service assumes."""
    counts = Counter(Present=1, Absent=31)
    assert attendance_summary(counts, Switches())["Percent"] == "3.13%"


def test_syllabus_has_what_trips_clients():
    """Line breaks, outer blanks, equal names, groups, a course without a class."""
    courses, _ = course_rows()
    names = Counter(row["cdata"]["course_name"] for row in courses)
    assert any("\r\n" in name for name in names)
    assert any(name != name.strip() for name in names)
    assert names["Web Technology"] == 3
    assert {"_G1", "_G2"} <= {row["cf_code"][-3:] for row in courses}
    totals = [row["attendance_summary"]["Total"] for row in courses]
    assert totals.count(0) == 1
    assert len(courses) == 15


def test_every_mark_occurs():
    """Leave and Exempt are there, Present is the most frequent."""
    marks: Counter[str] = Counter()
    for row in course_rows()[0]:
        marks.update(c["state"] for c in COLLEGE.cards(STUDENTS[0], row["id"]))
    assert set(marks) == {"Present", "Absent", "Leave", "Exempt"}
    assert marks.most_common(1)[0][0] == "Present"


def test_classes_are_on_weekdays_and_never_on_holidays():
    """No record falls on a weekend, a holiday, or after today."""
    timetable = COLLEGE.timetable
    days = [
        datetime.fromisoformat(card["start_time"]).date()
        for row in course_rows()[0]
        for card in COLLEGE.cards(STUDENTS[0], row["id"])
    ]
    assert all(timetable.is_class_day(day) for day in days)
    assert max(days) <= timetable.today
    fortnight = [date(2025, 9, day) for day in range(1, 29)]
    assert any(timetable.is_holiday(day) for day in fortnight)


def test_labs_have_two_records_a_day():
    """A lab's two periods are two records, of type P."""
    lab = COLLEGE.cards(STUDENTS[0], course_rows()[0][0]["id"])
    per_day = Counter(card["start_time"][:10] for card in lab)
    assert set(per_day.values()) == {2}
    assert {card["type"] for card in lab} == {"P"}


def test_lectures_of_one_section_never_clash():
    """No student sits in two classes at one time."""
    starts = [
        card["start_time"]
        for row in course_rows()[0]
        for card in COLLEGE.cards(STUDENTS[0], row["id"])
    ]
    assert len(starts) == len(set(starts))


def test_dates_are_written_twice_alike():
    """`date_formatted` says what `start_time` and `end_time` say."""
    for card in COLLEGE.cards(STUDENTS[0], course_rows()[0][1]["id"]):
        start = datetime.fromisoformat(card["start_time"])
        end = datetime.fromisoformat(card["end_time"])
        text = f"{start:%I:%M%p} - {end:%I:%M%p} {start:%d/%b/%Y}"
        assert card["date_formatted"] == text


def test_record_ids_are_unique():
    """No two records of the college share an id."""
    ids = [
        card["id"]
        for student in STUDENTS
        for row in COLLEGE.course_files(student)[:-1]
        for card in COLLEGE.cards(student, row["id"])
    ]
    assert len(ids) == len(set(ids))


def test_sections_have_course_files_of_their_own():
    """Students of one section share course ids, of two sections none."""
    first, second, _, _, classmate, _ = STUDENTS
    ids = [{c.cf_id for c in COLLEGE.courses(s)} for s in (first, second, classmate)]
    assert ids[0] == ids[2]
    assert not ids[0] & ids[1]
    assert COLLEGE.cards(first, min(ids[1])) == []


@pytest.mark.parametrize("count", [0, 7, 700])
def test_records_per_subject_are_exact(count):
    """A college made for measuring has just so many records in each begun course."""
    college = College(students=1, subjects=20, records_per_subject=count)
    rows = college.course_files(college.student(0))[:-1]
    totals = {row["attendance_summary"]["Total"] for row in rows}
    assert totals == {0, count}
    assert len(rows) == 20
    starts = [c["start_time"] for c in college.cards(college.student(0), rows[0]["id"])]
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("empty", ["0%", "NaN%", None])
def test_percent_without_a_class_is_a_switch(empty):
    """A course of no class has the Percent that the switch says."""
    courses, _ = course_rows(Switches(percent_at_zero=empty))
    percents = {row["attendance_summary"]["Percent"] for row in courses}
    assert empty in percents


def test_percent_may_be_a_number():
    """The switch turns text into a number of the same value."""
    as_text, as_number = (
        [row["attendance_summary"]["Percent"] for row in COLLEGE.course_files(s, w)]
        for s, w in (
            (STUDENTS[0], Switches()),
            (STUDENTS[0], Switches(percent_as_number=True, percent_at_zero="0%")),
        )
    )
    for text, number in zip(as_text, as_number, strict=True):
        assert number == "0%" or float(text.rstrip("%")) == number


def test_ids_may_be_text():
    """The switch writes every id as text, in course files and cards."""
    switches = Switches(ids_as_text=True, cf_id=True)
    courses, _ = course_rows(switches)
    assert all(isinstance(row["id"], str) for row in courses)
    assert courses[0]["student_id"] == str(STUDENTS[0].id)
    assert courses[0]["cf_id"] == courses[0]["id"]
    cards = COLLEGE.cards(STUDENTS[0], int(courses[0]["id"]), switches)
    assert isinstance(cards[0]["id"], str)


def test_leave_may_stand_outside_total():
    """With the switch Total is Present and Absent alone."""
    for row in course_rows(Switches(leave_in_total=False))[0]:
        summary = row["attendance_summary"]
        assert summary["Total"] == summary["Present"] + summary["Absent"]


def test_extra_states_replace_exempt():
    """Records marked Exempt bear the extra names, the others are as ever."""
    switches = Switches(extra_states=("Adjusted",), start_time_separator="T")
    plain, extra = (
        [c for r in course_rows()[0] for c in COLLEGE.cards(STUDENTS[0], r["id"], w)]
        for w in (Switches(), switches)
    )
    assert "Adjusted" in {card["state"] for card in extra}
    for before, after in zip(plain, extra, strict=True):
        wanted = before["state"].replace("Exempt", "Adjusted")
        assert after["state"] == after["status"] == wanted
        assert after["start_time"] == before["start_time"].replace(" ", "T")


def test_unreadable_dates_have_their_share():
    """About the share asked for has no date, and no mark changes."""
    cf_id = COLLEGE.courses(STUDENTS[0])[1].cf_id
    plain = COLLEGE.cards(STUDENTS[0], cf_id)
    spoilt = COLLEGE.cards(STUDENTS[0], cf_id, Switches(unreadable_dates=0.5))
    assert [c["state"] for c in plain] == [c["state"] for c in spoilt]
    changed = sum(a != b for a, b in zip(plain, spoilt, strict=True))
    assert 0.2 < changed / len(plain) < 0.8


@pytest.mark.parametrize("shape", CARD_SHAPES)
def test_records_without_a_date_come_in_every_shape(shape):
    """Two switches of the platform may be on at a time."""
    cf_id = COLLEGE.courses(STUDENTS[0])[0].cf_id
    switches = Switches(unreadable_dates=1.0, shapes=(shape,))
    sent = COLLEGE.cards(STUDENTS[0], cf_id, switches)
    assert bool(sent) == (shape != "records_gone")
