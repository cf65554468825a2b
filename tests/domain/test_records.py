"""The records of one subject, as the platform sends them: each counts once."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.domain.records import distinct
from aims_server.primitives import finish
from aims_server.upstream import ignore_oddity
from aims_server.upstream.answers import decode_cards, merge_pages

GOOD = {"state": "Present", "start_time": "2025-09-01 08:50:00", "date_formatted": ""}


def kept(*pages, note=ignore_oddity):
    """What is kept of the pages, each a list of records as they are sent."""
    decoded = [
        decode_cards(json.dumps({"response": {"data": p}}).encode()) for p in pages
    ]
    return finish(distinct(merge_pages(decoded).cards, note))


def test_the_same_record_counts_once():
    """Equal ids are one record; without an id no two are the same."""
    one, two = GOOD | {"id": 1}, GOOD | {"id": 2}
    assert len(kept([one, two, one])) == 2
    assert len(kept([GOOD, GOOD])) == 2
    for nothing in (0, "0", "", "-", "NA", " ", 0.0):
        assert len(kept([GOOD | {"id": nothing}] * 3)) == 3


def test_a_record_that_came_before_is_noted():
    """It is noted each time that it comes again."""
    notes: Counter[str] = Counter()
    kept([GOOD | {"id": 1}] * 3 + [GOOD] * 2, note=lambda kind, _: notes.update([kind]))
    assert notes == {"duplicate": 2}


@pytest.mark.parametrize("same", ["7", " 7 ", "007", "7.0", 7.0])
def test_a_record_is_the_same_whatever_its_id_is_sent_as(same):
    """A number and its text are one id, on one page and on two."""
    one, other = GOOD | {"id": 7}, GOOD | {"id": same}
    assert len(kept([one, other])) == 1
    assert len(kept([one, GOOD | {"id": 8}], [GOOD | {"id": 9}, other])) == 3


def test_an_id_may_be_any_text():
    """Equal text ids are one record, also beside numbers and in an odd list."""
    one, other = GOOD | {"id": "rec-1f"}, GOOD | {"id": "rec-2f"}
    assert len(kept([one, other, one])) == 2
    assert len(kept([one, other, one, GOOD | {"id": 7}, {"state": 5}])) == 3


@pytest.mark.parametrize("order", [1, -1], ids=["sent so", "sent backwards"])
@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"start_time": "30/Aug/2025 15:40"}, {"start_time": "01/Sep/2025 08:50"}),
        ({"start_time": "2025-09-01 08:50"}, {"start_time": "2025-09-01 09:40"}),
        ({"start_time": "2025-09-01"}, {"start_time": "2025-09-01 08:50"}),
        ({"start_time": "soon"}, {"start_time": "2025-09-01 08:50"}),
        (
            {"start_time": "", "date_formatted": "08:50AM - 09:40AM 30/Aug/2025"},
            {"start_time": "", "date_formatted": "03:45PM - 04:30PM 01/Sep/2025"},
        ),
        ({"state": "absent"}, {"state": "Present"}),
        ({"state": "Sick Leave"}, {"state": "Present"}),
        ({"state": "absent"}, {"state": "Duty Leave"}),
        ({"state": "Exempt"}, {"state": "Absent"}),
    ],
)
def test_of_two_that_differ_the_later_one_counts(earlier, later, order):
    """The later class counts; at equal times Present, then Leave, then Absent."""
    records = [GOOD | {"id": 1} | earlier, GOOD | {"id": 1} | later]
    (alone,) = kept(records[1:])
    assert kept(records[::order]) == [alone]


@settings(max_examples=60)
@given(st.lists(st.integers(1, 5), max_size=12), st.randoms())
def test_no_mark_is_counted_twice_in_whatever_order(ids, random):
    """One record for each id, the same ones however they are sent."""
    rows = [
        GOOD | {"id": number, "start_time": f"2025-09-0{1 + nth % 9} 08:50:00"}
        for nth, number in enumerate(ids)
    ]
    shuffled = random.sample(rows, len(rows))
    assert len(kept(rows)) == len(set(ids))
    assert set(kept(rows)) == set(kept(shuffled))
