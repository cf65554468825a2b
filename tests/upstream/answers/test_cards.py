"""Attendance records decoded, and their pages put together."""

import json
import time
from collections import Counter

import pytest

from aims_server.upstream.answers import (
    BadShape,
    Card,
    decode_cards,
    merge_pages,
    more_follows,
)

from .bodies import body_of


def cards_of(*records):
    """The records, sent and decoded as cards."""
    return decode_cards(body_of(records))


def test_a_record_keeps_the_platforms_texts():
    """Mark, start, wording and teacher are passed on as sent, other fields are not."""
    sent = {
        "id": 91000001,
        "type": "L",
        "state": "Absent",
        "status": "Present",
        "start_time": "2025-09-01 08:50:00",
        "date_formatted": "08:50AM - 09:40AM 01/Sep/2025",
        "faculty_name": "R SAMPLE",
    }
    (card,) = cards_of(sent).cards
    assert card == Card(
        state="Absent",
        start_time="2025-09-01 08:50:00",
        date_formatted="08:50AM - 09:40AM 01/Sep/2025",
        faculty_name="R SAMPLE",
        id=91000001,
    )


DATED = {"start_time": "2025-09-01 08:50:00", "date_formatted": ""}


@pytest.mark.parametrize("other", [{}, {"id": "x"}, {"fk_student": 5900001}])
def test_a_teacher_is_as_sent_whatever_stands_beside(other):
    """The name is read once, where days are counted: "&amp;lt;" is shown as "&lt;"."""
    sent = {"id": 1, "state": "Present", "faculty_name": "A &amp;lt; B", **DATED}
    assert cards_of(sent, sent | other).cards[0].faculty_name == "A &amp;lt; B"


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ({"status": "Leave"}, "Leave"),
        ({"state": None, "status": "Leave"}, "Leave"),
        ({"state": " ", "status": "Leave"}, "Leave"),
        ({"state": "Present", "status": 1}, "Present"),
        ({"state": "<span class='p'>Present</span>"}, "Present"),
        ({"state": "Duty&nbsp;Leave"}, "Duty Leave"),
        ({"state": "Duty\xa0Leave"}, "Duty Leave"),
        ({"state": "<br>", "date_formatted": ""}, ""),
        ({"state": "<br>", "status": "Absent"}, "Absent"),
        ({"state": "&nbsp;", "status": "Absent"}, "Absent"),
        ({"state": " Present\x00\u200b"}, "Present"),
        ({"state": "Pre\u200bsent"}, "Present"),
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


@pytest.mark.parametrize("field", DATED)
def test_a_date_alone_makes_a_record(field):
    """Its mark may be entered later."""
    (card,) = cards_of({field: "01/Sep/2025"}).cards
    assert getattr(card, field) == "01/Sep/2025"


@pytest.mark.parametrize(
    "body", [b"null", b" null\n", b'{"response":null}', b'{"msg":"","response":null}']
)
def test_null_is_no_record(body):
    """The summary, fetched before, tells whether there should be some."""
    assert decode_cards(body).cards == []


@pytest.mark.parametrize(
    "body", [b'{"msg":"Failed","response":null}', b'{"error":"x","response":null}']
)
def test_null_with_words_of_a_failure_is_refused(body):
    """They say that there may be records all the same."""
    with pytest.raises(BadShape):
        decode_cards(body)


def test_no_records_are_a_normal_answer():
    """A course whose classes have not begun has none."""
    assert cards_of().cards == []


GOOD = {"state": "Present", **DATED}


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("odd", [None, "Present", [], 7, {}, {"id": 3}, {"state": " "}])
def test_a_row_that_is_no_record_is_left_out_and_noted(odd, at):
    """What has neither mark nor date is no class; the others are as they were."""
    notes: Counter[str] = Counter()
    rows = [GOOD | {"id": 1}, GOOD | {"id": 2}]
    plain = cards_of(*rows)
    rows.insert(at, odd)
    page = decode_cards(body_of(rows), lambda kind, _: notes.update([kind]))
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


def test_a_long_time_is_cut_without_its_tags():
    """What a style takes up costs no date."""
    worded = "<td style='color:green;padding:4px'>08:50AM - 09:40AM</td>" * 2
    sent = {"date_formatted": f"{worded}<b>01/Sep/2025</b>"}
    (card,) = cards_of(GOOD | sent).cards
    assert card.date_formatted.endswith("01/Sep/2025")


@pytest.mark.parametrize("field", ["start_time", "date_formatted"])
@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("<b>01/Sep/2025</b>", "01/Sep/2025"),
        ("08:50AM&nbsp;-&nbsp;09:40AM 01/Sep/2025", "08:50AM - 09:40AM 01/Sep/2025"),
        ("<b>01/\u200bSep/2025</b>", "01/Sep/2025"),
        ("08:50AM -  09:40AM 01/Sep/2025 ", "08:50AM -  09:40AM 01/Sep/2025 "),
    ],
)
def test_a_time_is_shown_without_html(field, sent, shown):
    """Tags and escapes are removed as from names; a plain time stays as sent."""
    body = body_of([GOOD | {field: sent}])
    escaped = body.replace(b"<", rb"\u003C").replace(b"&", rb"\u0026")
    for each in (body, escaped):
        (card,) = decode_cards(each).cards
        assert getattr(card, field) == shown


def test_html_elsewhere_in_an_answer_changes_nothing():
    """HTML in other fields, with or without a list, changes no record."""
    assert decode_cards(b'{"msg":"<p>","response":{"data":[]}}').cards == []
    assert cards_of(GOOD | {"room": "<b>12</b>"}) == cards_of(GOOD)


@pytest.mark.parametrize("row", [GOOD, {"state": 5, "id": []}, None])
def test_a_list_out_of_all_measure_is_refused(row):
    """To read it row by row would hold every other student's up."""
    assert decode_cards(body_of([GOOD, *[row] * 19_999])).cards
    with pytest.raises(BadShape):
        decode_cards(body_of([GOOD, *[row] * 20_000]))


@pytest.mark.parametrize("rows", [[1, "two", None], [{}], [{"id": {}, "state": 7}]])
def test_records_of_which_none_is_one_are_refused(rows):
    """To read them as no classes would be inventing zeros."""
    with pytest.raises(BadShape):
        cards_of(*rows)


def test_whose_records_they_are_is_told():
    """`fk_student` or `student_id` names the student; two students are refused."""
    named = GOOD | {"fk_student": "5900001"}
    assert cards_of(named, GOOD | {"student_id": 5900001}).student_id == 5900001
    assert cards_of(GOOD).student_id is None
    with pytest.raises(BadShape):
        cards_of(named, GOOD | {"student_id": 5900002})


def paged(rows, **about):
    """One page of records, with what its envelope says of the others."""
    body = {"msg": "", "response": {"data": rows, **about}}
    return decode_cards(json.dumps(body).encode())


PAGES = [[GOOD | {"id": 10 * page + n} for n in range(3)] for page in range(4)]


@pytest.mark.parametrize(
    ("pages", "more"),
    [
        ([paged(PAGES[0])], False),
        ([paged(PAGES[0], last_page=1, total=3)], False),
        ([paged(PAGES[0], last_page=1, total=4)], True),
        ([paged(PAGES[0], last_page=1, next_page_url="/cards?page=2")], True),
        ([paged(PAGES[0], last_page=0, next_page_url="/cards?page=2")], True),
        ([paged(PAGES[0], last_page=2)], True),
        ([paged(PAGES[0], last_page="2")], True),
        ([paged(PAGES[0], last_page=2.0)], True),
        ([paged(PAGES[0], total=4)], True),
        ([paged(PAGES[0], total=3)], False),
        ([paged([None, *PAGES[0], {}], total=5)], False),
        ([paged([None, *PAGES[0], {}], total=6)], True),
        ([paged(PAGES[0], next_page_url="/cards?page=2")], True),
        ([paged(PAGES[0], next_page_url=None)], False),
        ([paged(PAGES[0], last_page=2), paged(PAGES[1], last_page=2)], False),
        ([paged(PAGES[0], last_page=3), paged(PAGES[1], last_page=3)], True),
        ([paged(PAGES[0], last_page=3), paged(PAGES[0], last_page=3)], False),
        ([paged(PAGES[0], last_page=3), paged([], last_page=3)], False),
        ([paged([], last_page=3)], False),
        ([paged(PAGES[0], last_page=2), paged(PAGES[1], last_page=3)], True),
        ([paged(PAGES[0], total=6), paged(PAGES[1], total=7)], True),
        ([paged(PAGES[0], meta={"current_page": 1, "last_page": 2})], True),
        ([paged(PAGES[0], meta={"last_page": 1, "total": 3})], False),
        ([paged(PAGES[0], meta=[])], False),
        ([paged(PAGES[0], meta={"pagination": {"total": 4}})], True),
        ([paged(PAGES[0], meta={"pagination": {"links": {"next": "?page=2"}}})], True),
        ([paged(PAGES[0], pagination={"total": 3, "count": 3})], False),
        ([paged(PAGES[0], pagination={"total": 9, "count": 3})], True),
        ([paged(PAGES[0], pagination=[])], False),
        ([paged(PAGES[0], links={"next": "/cards?page=2"}, meta={"to": 3})], True),
        ([paged(PAGES[0], links={"next": None})], False),
        ([paged(PAGES[0], links=[{"url": "/cards?page=2"}])], False),
        ([paged(PAGES[0], last_page=[], total={})], False),
    ],
)
def test_an_answer_says_whether_there_is_more(pages, more):
    """Last page, total and link, also a later page's, count; a repeat is the end."""
    assert more_follows(pages) is more


@pytest.mark.parametrize(
    ("pages", "records", "complete"),
    [
        ([paged(PAGES[0])], 3, True),
        ([paged(PAGES[0], last_page=2), paged(PAGES[1])], 6, True),
        ([paged(PAGES[0], last_page=2), paged(PAGES[0])], 3, False),
        ([paged(["x", *PAGES[0]], total=8), paged([*PAGES[1], {}])], 6, True),
        ([paged(PAGES[0], last_page=2), paged([])], 3, False),
        ([paged(PAGES[0], total=9), paged(PAGES[1])], 6, False),
        ([paged(PAGES[0], total=6), paged(PAGES[1], total=7)], 6, False),
        (
            [paged(PAGES[n], last_page=last) for n, last in enumerate((2, 3, 3))],
            9,
            True,
        ),
        ([paged(PAGES[0], last_page=1, next_page_url="x"), paged([])], 3, True),
        ([paged(PAGES[0], next_page_url="x"), paged([])], 3, True),
    ],
)
def test_pages_put_together_know_whether_they_are_all(pages, records, complete):
    """A page that repeats the first is not counted again."""
    cards = merge_pages(pages)
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
        "faculty_name": "R SAMPLE",
    }
    body = body_of([record] * 4000)
    assert quickest(lambda: decode_cards(body)) < 0.010


def quickest(work):
    """Seconds of processor time of the best of five runs: what the work needs."""
    times = []
    for _ in range(5):
        begun = time.thread_time()
        work()
        times.append(time.thread_time() - begun)
    return min(times)
