"""The three pages: the contract's keys, sums that are true, and no subject lost."""

import json
import time
from itertools import product

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server import domain as figures
from aims_server.domain.names import subject_keys
from aims_server.upstream import (
    Card,
    Counts,
    Course,
    CourseFiles,
)

from .counting import subject_days

CACHED_AT = "2025-09-01T10:00:00Z"
COUNTS = Counts(present=31, absent=8, leave=1, total=40, percent="77.5%")
WEB = Course(cf_id=7300002, code="BCS502", name="Web Technology", counts=COUNTS)
TOTAL = Counts(present=464, absent=120, leave=16, total=600, percent="77.33%")
CLASS = Card(
    state="Present",
    start_time="2025-09-01 08:50:00",
    date_formatted="08:50AM - 09:40AM 01/Sep/2025",
    faculty_name="R SAMPLE",
)


def files_of(*courses, total=None, student_id=5900001):
    """Course files of these courses and an invented student."""
    return CourseFiles(courses, total, student_id, "2027", "C", "IT")


def keys_of(*courses):
    """The keys of courses given as (name, code, id)."""
    return subject_keys(Course(cf, code, name, COUNTS) for name, code, cf in courses)


def page_of(files, days):
    """The all-subjects page as a client reads it."""
    page = figures.all_attendance_page(files, days, CACHED_AT, 75)
    return json.loads(msgspec.json.encode(page))


def test_the_summary_page_reads_as_the_contract_has_it():
    """The bytes are those of docs/contract.rst 2.1, key by key."""
    page = figures.attendance_page(files_of(WEB, total=TOTAL), 75)
    assert msgspec.json.encode(page) == (
        b'{"dailyAttendance":[{"course":"Web Technology","courseCode":"BCS502",'
        b'"present":31,"total":40,"percent":"77.5%","canMiss":1,"mustAttend":0}],'
        b'"totalPresent":464,"totalClasses":600,"overallPercentage":"77.33%",'
        b'"batch":"2027","section":"C","branch":"IT","studentId":5900001,'
        b'"target":75,"canMiss":18,"mustAttend":0,"incomplete":[]}'
    )


def test_the_all_subjects_page_reads_as_the_contract_has_it():
    """The bytes are those of docs/contract.rst 2.2, key by key."""
    days = {WEB.cf_id: subject_days([CLASS])}
    page = figures.all_attendance_page(files_of(WEB, total=TOTAL), days, CACHED_AT, 75)
    assert msgspec.json.encode(page) == (
        b'{"studentId":5900001,"totalPresentAllSubjects":1,'
        b'"totalAbsentAllSubjects":0,"totalLeaveAllSubjects":0,'
        b'"subjects":{"Web Technology":{"courseCode":"BCS502","cfId":7300002,'
        b'"totalPresent":1,"totalAbsent":0,"totalLeave":0,'
        b'"total":40,"percent":"77.5%","canMiss":1,"mustAttend":0,'
        b'"enteredUntil":"2025-09-01","daily":[{"date":"2025-09-01","present":1,"absent":0,"leave":0,'
        b'"details":[{"time":"2025-09-01 08:50:00","status":"Present",'
        b'"formatted":"08:50AM - 09:40AM 01/Sep/2025","faculty":"R SAMPLE"}]}]}},'
        b'"courseCodeMap":{"BCS502":"Web Technology"},'
        b'"cachedAt":"2025-09-01T10:00:00Z","incomplete":[]}'
    )


def test_the_one_subject_page_reads_as_the_contract_has_it():
    """The bytes are those of docs/contract.rst 2.3, key by key."""
    days = subject_days([CLASS, Card("Exempt", "", "")])
    page = figures.subject_attendance_page("Web", 5900001, 7300002, days, CACHED_AT)
    assert msgspec.json.encode(page) == (
        b'{"subject":"Web","studentId":5900001,"cfId":7300002,'
        b'"totalPresent":1,"totalAbsent":0,"totalLeave":0,"totalRecords":2,'
        b'"dailyAttendance":[{"date":"2025-09-01","present":1,"absent":0,"leave":0,'
        b'"details":[{"time":"2025-09-01 08:50:00","status":"Present",'
        b'"formatted":"08:50AM - 09:40AM 01/Sep/2025","faculty":"R SAMPLE"}]}],'
        b'"fetchedAt":"2025-09-01T10:00:00Z"}'
    )


def test_without_a_total_row_the_totals_are_summed():
    """The overall percentage is then worded as the platform would."""
    lab = Course(2, "BCS551", "Lab", Counts(1, 1, 0, 2, "50%"))
    page = figures.attendance_page(files_of(WEB, lab), 75)
    assert (page.total_present, page.total_classes) == (32, 42)
    assert page.overall_percentage == "76.19%"


def test_a_percentage_the_platform_leaves_out_is_computed():
    """Of no classes it is 0%; the platform's own text is never touched."""
    files = files_of(
        Course(1, "A", "A", Counts(0, 0, 0, 0, None)),
        Course(2, "B", "B", Counts(2, 1, 0, 3, None)),
        Course(3, "C", "C", Counts(2, 1, 0, 3, "67%")),
        total=Counts(4, 2, 0, 6, None),
    )
    page = figures.attendance_page(files, 75)
    assert [c.percent for c in page.daily_attendance] == ["0%", "66.67%", "67%"]
    assert page.overall_percentage == "66.67%"
    own = files_of(total=Counts(4, 2, 0, 6, "67%"))
    assert figures.attendance_page(own, 75).overall_percentage == "67%"


def test_a_course_without_usable_counts_is_shown_as_zeros_and_named():
    """It costs the others nothing; the planner says nothing of it."""
    lab = Course(2, "BCS551", "Lab", None)
    page = json.loads(
        msgspec.json.encode(figures.attendance_page(files_of(WEB, lab), 75))
    )
    assert page["incomplete"] == ["Lab"]
    assert page["dailyAttendance"][1] == {
        "course": "Lab",
        "courseCode": "BCS551",
        "present": 0,
        "total": 0,
        "percent": "0%",
        "canMiss": None,
        "mustAttend": None,
    }
    assert (page["totalPresent"], page["totalClasses"]) == (31, 40)


def test_without_any_course_the_page_is_empty():
    """A new student: no courses, nothing of nothing."""
    page = figures.attendance_page(files_of(), 75)
    assert not page.daily_attendance
    assert not page.incomplete
    assert (page.total_classes, page.overall_percentage) == (0, "0%")
    assert page.can_miss is page.must_attend is None
    assert page_of(files_of(), {})["subjects"] == {}


def test_equal_names_are_told_apart_alike_on_both_pages():
    """The old frontend joins the two by the name."""
    other = Course(2, "BCS552", "Web Technology", COUNTS)
    page = figures.attendance_page(files_of(WEB, other), 75)
    names = [course.course for course in page.daily_attendance]
    assert names == ["Web Technology", "Web Technology (BCS552)"]
    assert list(page_of(files_of(WEB, other), {})["subjects"]) == names


def test_half_classes_are_shown_as_they_are():
    """30.5 stays 30.5, and the sums are exact."""
    half = Course(2, "B", "B", Counts(30.5, 9.5, 0, 40, None))
    page = figures.attendance_page(files_of(WEB, half), 75)
    assert page.daily_attendance[1].present == 30.5
    assert (page.total_present, page.overall_percentage) == (61.5, "76.88%")


def test_a_student_the_platform_did_not_name_is_null():
    """No number is invented for `studentId`."""
    files = files_of(WEB, student_id=None)
    assert figures.attendance_page(files, 75).student_id is None
    assert page_of(files, {})["studentId"] is None


def test_a_subject_that_could_not_be_had_carries_the_summarys_counts():
    """Its days are empty, its name stands in `incomplete`, the others are whole."""
    lab = Course(2, "BCS551", "Lab", Counts(1, 2, 3, 6, None))
    page = page_of(files_of(WEB, lab), {WEB.cf_id: subject_days([CLASS]), 2: None})
    assert page["incomplete"] == ["Lab"]
    assert page["subjects"]["Lab"] == {
        "courseCode": "BCS551",
        "cfId": 2,
        "totalPresent": 1,
        "totalAbsent": 2,
        "totalLeave": 3,
        "total": 6,
        "percent": "16.67%",
        "canMiss": 0,
        "mustAttend": 14,
        "enteredUntil": None,
        "daily": [],
    }
    assert page["totalPresentAllSubjects"] == 2


def test_a_subject_without_records_where_there_were_no_classes_is_whole():
    """No class yet is an answer."""
    none = Course(7, "A", "A", Counts(0, 0, 0, 0, None))
    page = page_of(files_of(none), {7: subject_days([])})
    assert page["incomplete"] == []
    assert page["subjects"]["A"]["totalPresent"] == 0


UNMARKED = [Card("", f"2025-09-0{n} 08:50:00", "") for n in range(1, 6)]


@pytest.mark.parametrize(
    ("days", "kind"),
    [
        (subject_days([]), "empty"),
        (subject_days(UNMARKED), "mark"),
        (subject_days([CLASS], complete=False), None),
    ],
)
def test_zeros_that_the_summary_contradicts_are_not_believed(days, kind):
    """The summary's counts, what days there are, and the name in `incomplete`."""
    notes = []
    files = files_of(WEB)
    page = figures.all_attendance_page(
        files, {WEB.cf_id: days}, CACHED_AT, 75, lambda kind, _: notes.append(kind)
    )
    subject = page.subjects["Web Technology"]
    assert page.incomplete == ("Web Technology",)
    assert (subject.total_present, subject.total_absent, subject.total_leave) == (
        *(31, 8, 1),
    )
    assert subject.daily == days.daily
    assert subject.entered_until == days.entered_until
    assert notes == [kind] * (kind is not None)


def test_a_mere_difference_is_shown_as_it_is_and_noted():
    """What the platform's Total includes is not known."""
    notes = []
    page = figures.all_attendance_page(
        files_of(WEB),
        {WEB.cf_id: subject_days([CLASS])},
        CACHED_AT,
        75,
        lambda kind, _: notes.append(kind),
    )
    assert (page.incomplete, notes) == ((), ["difference"])
    assert page.subjects["Web Technology"].total_present == 1
    assert page.subjects["Web Technology"].total == 40


def test_nothing_is_noted_where_records_and_summary_agree():
    """The metric counts differences only."""
    agreed = files_of(Course(2, "A", "A", Counts(1, 0, 0, 1, None)))
    days, notes = {2: subject_days([CLASS])}, []
    figures.all_attendance_page(
        agreed, days, CACHED_AT, 75, lambda kind, _: notes.append(kind)
    )
    assert notes == []


@pytest.mark.parametrize("complete", [True, False])
def test_where_the_summary_is_unusable_the_records_speak(complete):
    """It alone puts nobody into `incomplete`; missing records do, but count what they
    can.
    """
    course = Course(2, "A", "A", None)
    records = [CLASS, Card("Absent", "2025-09-02 08:50:00", "")]
    page = page_of(files_of(course), {2: subject_days(records, complete=complete)})
    subject = page["subjects"]["A"]
    assert page["incomplete"] == ([] if complete else ["A"])
    assert (subject["totalPresent"], subject["total"]) == (1, 2)
    assert (subject["percent"], subject["mustAttend"]) == ("50%", 2)


def test_incomplete_holds_the_key_that_a_double_name_got():
    """A client finds every incomplete subject in `subjects` under that text."""
    other = Course(2, "BCS552", "Web Technology", COUNTS)
    page = page_of(files_of(WEB, other), {WEB.cf_id: subject_days([CLASS])})
    assert page["incomplete"] == ["Web Technology (BCS552)"]


def test_a_code_leads_to_the_subject_that_has_classes():
    """An empty group row before the real one does not take the code."""
    empty = Course(1, "BCS502", "Web Technology", Counts(0, 0, 0, 0, None))
    page = page_of(files_of(empty, WEB), {1: subject_days([])})
    assert page["courseCodeMap"] == {"BCS502": "Web Technology (BCS502)"}
    new = Course(2, "BCS502", "Web Technology", empty.counts)  # its summary lags
    page = page_of(files_of(empty, new), {1: None, 2: subject_days([CLASS])})
    assert page["courseCodeMap"] == {"BCS502": "Web Technology (BCS502)"}


def test_a_code_leads_to_the_first_subject_that_bears_it():
    """Two groups of one course share a code; a blank code leads nowhere."""
    group = Course(2, "BCS502", "Web Technology", COUNTS)
    page = page_of(files_of(WEB, group, Course(3, "", "Library", COUNTS)), {})
    assert page["courseCodeMap"] == {"BCS502": "Web Technology"}


@pytest.mark.parametrize(
    ("courses", "keys"),
    [
        (
            [("Maths", "BCS501", 1), ("Maths", "BCS551", 2), ("Maths", "BCS501", 3)],
            ("Maths", "Maths (BCS551)", "Maths (BCS501)"),
        ),
        (
            [("Lab", "B", 1), ("Lab", "B", 2), ("Lab", "B", 3)],
            ("Lab", "Lab (B)", "Lab (B, 3)"),
        ),
        (
            [("Lab", "B", 1), ("Lab (B)", "C", 2), ("Lab", "B", 3)],
            ("Lab", "Lab (B)", "Lab (B, 3)"),
        ),
        (
            [("Lab", "B", 1), ("Lab", "B", 2), ("Lab (B)", "C", 3)],
            ("Lab", "Lab (B)", "Lab (B) (C)"),
        ),
        (
            [("Lab", "B", 1)] * 4,
            ("Lab", "Lab (B)", "Lab (B, 1)", "Lab (B, 1, 2)"),
        ),
        ([("Lab", "", 1), ("Lab", "", 2)], ("Lab", "Lab (2)")),
    ],
)
def test_equal_names_get_keys_of_their_own(courses, keys):
    """Name, then Name (CODE), then Name (CODE, cfId), then a number behind."""
    assert keys_of(*courses) == keys


def test_course_files_of_one_id_count_once_each():
    """A row sent twice stands twice, as in the platform's own Total row."""
    page = page_of(files_of(WEB, WEB), {WEB.cf_id: subject_days([CLASS])})
    assert list(page["subjects"]) == ["Web Technology", "Web Technology (BCS502)"]
    assert page["totalPresentAllSubjects"] == 2


spiteful_parts = ["M", "M (A)", "M (A, 1)", "M (A, 1, 2)", "M (1)", "M (A) (A)"]
names = st.sampled_from(spiteful_parts) | st.text(max_size=3)
codes = st.sampled_from(["A", "", "A, 1", "1", "B"]) | st.text(max_size=2)
courses = st.lists(
    st.builds(Course, st.integers(0, 3), codes, names, st.none()), max_size=12
)


@settings(max_examples=100)
@given(courses)
def test_no_subject_is_lost_whatever_the_names(listed):
    """There are as many keys as courses, each beginning with its course's name."""
    keys = subject_keys(listed)
    assert len(set(keys)) == len(listed)
    assert all(key.startswith(c.name) for key, c in zip(keys, listed, strict=True))


def test_no_subject_is_lost_among_all_pairs_of_spiteful_names():
    """Every name against every code and id at once still gives every key once."""
    listed = [
        (name, code, cf_id)
        for name, code, cf_id in product(spiteful_parts, ["A", "", "A, 1"], [1, 2])
    ]
    assert len(set(keys_of(*listed, *listed))) == 2 * len(listed)


def test_a_full_page_is_put_together_within_five_milliseconds():
    """Fifteen subjects of four hundred records each: their days are only copied."""
    days = subject_days([CLASS] * 400)
    listed = [Course(n, f"C{n}", f"Course {n}", COUNTS) for n in range(15)]
    files, every = files_of(*listed), dict.fromkeys(range(15), days)
    times = []
    for _ in range(5):
        begun = time.thread_time()
        msgspec.json.encode(figures.all_attendance_page(files, every, CACHED_AT, 75))
        times.append(time.thread_time() - begun)
    assert min(times) < 0.005
