"""One subject's records counted: in total, and on the right day or on none."""

import json
import time
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.domain.days import (
    Day,
    Detail,
    SubjectDays,
    count_days,
)
from aims_server.upstream import Card, ignore_oddity

from .counting import subject_days


def days_of(*cards):
    """The days that come of the records, decoded from their ready JSON."""
    return msgspec.json.decode(subject_days(cards).daily, type=list[Day])


def test_the_day_does_not_depend_on_the_servers_zone(monkeypatch):
    """A class just after midnight in India stays on its day on a server far west."""
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    try:
        days = days_of(Card("Present", "2025-09-01 00:10:00", ""))
        assert [day.date for day in days] == ["2025-09-01"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_day_reads_as_the_contract_has_it():
    """Keys, their order and the texts as sent, as docs/contract.rst 2.2 shows."""
    wording = "08:50AM - 09:40AM 01/Sep/2025"
    days = subject_days([Card("Present", "2025-09-01 08:50:00", wording)])
    assert bytes(days.daily) == (
        b'[{"date":"2025-09-01","present":1,"absent":0,"leave":0,"details":'
        b'[{"time":"2025-09-01 08:50:00","status":"Present",'
        b'"formatted":"08:50AM - 09:40AM 01/Sep/2025"}]}]'
    )


def test_an_unknown_state_stands_in_the_details_alone():
    """Exempt is no absence; it counts as a record and in none of the three."""
    states = ("Exempt", "Absent", "", "Present", "Adjusted", "Leave")
    days = subject_days([Card(state, "2025-09-01 08:50:00", "") for state in states])
    assert (days.total_present, days.total_absent, days.total_leave) == (1, 1, 1)
    assert days.total_records == 6
    (day,) = msgspec.json.decode(days.daily, type=list[Day])
    assert (day.present, day.absent, day.leave) == (1, 1, 1)
    assert sorted(detail.status for detail in day.details) == sorted(states)


def test_a_state_is_known_in_any_case_and_with_blanks():
    """ "present " is Present, and is passed on as it was sent."""
    days = days_of(Card("present ", "2025-09-01", ""), Card("LEAVE", "2025-09-01", ""))
    assert (days[0].present, days[0].leave) == (1, 1)
    assert [detail.status for detail in days[0].details] == ["LEAVE", "present "]


def test_a_record_without_a_day_counts_in_the_totals_only():
    """Nothing is ever put on today or on a neighbour's day."""
    days = subject_days([Card("Present", "soon", "x"), Card("Absent", "", "")])
    assert days == SubjectDays(1, 1, 0, 2, msgspec.Raw(b"[]"), None)


def test_no_records_give_zeros_and_no_days():
    """A course whose classes have not begun."""
    assert subject_days([]) == SubjectDays(0, 0, 0, 0, msgspec.Raw(b"[]"))


@pytest.mark.parametrize(
    ("state", "counted"),
    [
        ("P", (1, 0, 0)),
        ("a", (0, 1, 0)),
        ("L", (0, 0, 1)),
        ("Duty Leave", (0, 0, 1)),
        ("MEDICAL LEAVE ", (0, 0, 1)),
        ("Medical_Leave", (0, 0, 1)),
        ("half-leave", (0, 0, 1)),
        ("DutyLeave", (0, 0, 1)),
        ("Leaves", (0, 0, 0)),
        ("MEDICALLEAVE", (0, 0, 1)),
        ("\uff30\uff32\uff25\uff33\uff25\uff2e\uff34", (1, 0, 0)),  # of full width
        ("Pre\u00adsent\u200d", (1, 0, 0)),  # a soft hyphen, a joiner
        ("\u202aAbsent\u202c", (0, 1, 0)),  # within marks of direction
        ("Leave due", (0, 0, 0)),
        ("Exempt", (0, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_every_mark_counts_as_one_of_three_or_none(state, counted):
    """Letters, words in any case, and every kind of leave."""
    days = subject_days([Card(state, "2025-09-01 08:50:00", "")])
    assert (days.total_present, days.total_absent, days.total_leave) == counted
    assert days.total_counted == sum(counted)


def test_a_days_details_stand_in_order_of_the_time_of_day():
    """Not of its text: 03:45PM comes after 10:45AM, and what has no time comes last."""
    words = ("03:45PM", "", "10:45AM", "12:20PM", "08:50AM")
    cards = [Card("Present", "", f"{word} 01/Sep/2025") for word in words]
    (day,) = days_of(*cards)
    assert [detail.formatted.split()[0] for detail in day.details] == [
        *("08:50AM", "10:45AM", "12:20PM", "03:45PM"),
        "01/Sep/2025",
    ]


def test_a_teacher_is_named_where_the_platform_names_one():
    """Cleaned as every name; left out where there is none."""
    taught = Card("Present", "2025-09-01 08:50:00", "", "R &amp; S <b>SAMPLE</b> ")
    days = subject_days([taught, Card("Present", "2025-09-02 08:50:00", "")])
    first, second = json.loads(bytes(days.daily))
    assert first["details"][0]["faculty"] == "R & S SAMPLE"
    assert "faculty" not in second["details"][0]


def test_the_last_day_says_until_when_a_subject_is_entered():
    """The records' own, none without a day."""
    cards = [Card("Absent", f"2025-09-0{n} 08:50:00", "") for n in (3, 1, 2)]
    assert subject_days(cards).entered_until == "2025-09-03"
    assert subject_days([Card("Absent", "", "")]).entered_until is None


def test_what_cannot_be_read_of_a_record_is_noted():
    """A date, a mark: once for each record, and no other mark is one."""
    notes: Counter[str] = Counter()
    subject_days(
        [
            Card("", "2025-09-01 08:50", ""),
            Card("Present", "soon", ""),
            Card("", "", ""),
            Card("Exempt", "2025-09-01 09:40", ""),
        ],
        lambda kind, _: notes.update([kind]),
    )
    assert notes == {"mark": 2, "date": 2}


def test_days_ascend_and_the_hours_of_a_day_too():
    """The page reads from the term's first class to its last."""
    starts = (
        "2025-10-01 08:50",
        "2025-09-02 10:30",
        "2025-09-02 08:50",
        "2024-12-31 9",
    )
    days = days_of(*(Card("Present", start, "") for start in starts))
    assert [day.date for day in days] == ["2024-12-31", "2025-09-02", "2025-10-01"]
    assert [detail.time[11:] for detail in days[1].details] == ["08:50", "10:30"]


def test_both_ways_to_a_date_lead_to_one_day():
    """Records dated by start and by wording share the day's entry."""
    days = days_of(Card("Leave", "", "01/Sep/2025"), Card("Absent", "2025-09-01 9", ""))
    assert [(day.date, day.absent, day.leave) for day in days] == [("2025-09-01", 1, 1)]


states = st.sampled_from(["Present", "Absent", "Leave", "Exempt", " absent", "", "P"])
few_dates = st.dates().map(str) | st.sampled_from(["2025-09-01", "2025-09-02"])
starts = st.builds("{}{}{}".format, few_dates, st.sampled_from(" T"), st.text())
starts |= st.sampled_from(["0000-00-00 00:00:00", "1970-01-01 05:30:00", "soon"])
starts |= st.text(max_size=12)
wordings = few_dates.map(lambda day: f"08:50AM - 09:40AM {day[8:]}/Sep/{day[:4]}")
wordings |= st.sampled_from(["31/Feb/2025", ""]) | st.text(max_size=12)
cards = st.builds(Card, states | st.text(max_size=8), starts, wordings)


@settings(max_examples=80)
@given(st.lists(cards, max_size=30))
def test_no_record_is_lost_or_counted_twice(records):
    """The details of all days are exactly the records that have a day."""
    details = Counter(
        (day.date, detail.time, detail.status, detail.formatted)
        for day in days_of(*records)
        for detail in day.details
    )
    expected = Counter(
        (day.date, card.start_time, card.state, card.date_formatted)
        for card in records
        for day in days_of(card)
    )
    assert details == expected


@settings(max_examples=60)
@given(
    st.lists(cards, max_size=12).flatmap(
        lambda c: st.tuples(st.just(c), st.permutations(c))
    )
)
def test_the_order_of_the_records_does_not_matter(orders):
    """However the platform sorts, the answer is the same to the byte."""
    one, other = orders
    assert subject_days(one) == subject_days(other)


@pytest.mark.parametrize("step", [1, -1], ids=["in order", "backwards"])
def test_many_records_are_counted_in_small_steps(step):
    """The event loop is not held for long, however full a course is."""
    records = [
        Card("Present", f"2025-01-{1 + n // 40:02} 08:{1 + n % 40:02}:50", "", id=n + 1)
        for n in range(1000)
    ][::step]
    counting = count_days(records, ignore_oddity, complete=True)
    steps = sum(1 for _ in counting)
    assert steps >= 1000 // 250


def test_details_are_sound_json_whatever_the_texts():
    """Quotes, NUL and line separators of the platform's do not break the page."""
    odd = 'a"b\\\0\u2028</script>'
    days = subject_days([Card(odd, "2025-09-01", odd)])
    assert json.loads(bytes(days.daily))[0]["details"] == [
        msgspec.to_builtins(Detail("2025-09-01", odd, odd))
    ]
