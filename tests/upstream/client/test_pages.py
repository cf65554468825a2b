"""What the platform answers, decoded."""

import json
from collections import Counter

import pytest

from aims_server.demo.college import College
from aims_server.demo.platform import SimulatedPlatform
from aims_server.errors import (
    UpstreamRejected,
)
from aims_server.metrics import labels
from aims_server.upstream.client import ENDPOINTS as ALL_ENDPOINTS

from .conftest import ENDPOINTS, Student, client_of

pytestmark = pytest.mark.gen_test


def test_metrics_know_every_endpoint():
    """Every endpoint has a label of its own in the metrics."""
    assert labels.UPSTREAM_ENDPOINTS == ALL_ENDPOINTS


# What the platform answers.


async def test_course_files_are_the_colleges(student):
    """Every course in the platform's order, and its own total."""
    files = await student.course_files()
    *rows, total = student.college.course_files(student.student)
    assert [course.cf_id for course in files.courses] == [row["id"] for row in rows]
    assert files.total.present == total["attendance_summary"]["Present"]
    assert files.student_id == student.student.id


async def test_cards_are_the_colleges(student):
    """Record for record, by their states."""
    for course in student.courses[:3]:
        cards = (await student.cards(course.cf_id)).cards
        records = student.college.cards(student.student, course.cf_id)
        assert Counter(card.state for card in cards) == Counter(
            record["state"] for record in records
        )


async def test_quizzes_are_passed_on_unchanged(student, platform):
    """Byte for byte what the platform sent; it has only been looked at."""
    sent = platform.backend.quizzes(student.token).body
    quizzes = await student.quizzes()
    assert quizzes.body == sent
    assert quizzes.admission_number == student.student.username
    assert json.loads(sent)["response"]["data"]


EMPTY = {
    "an empty list": {"kind": "empty"},
    "null": {"kind": "body", "body": '{"msg":"","response":{"data":null}}'},
    "an empty array": {"kind": "body", "body": '{"msg":"No record","response":[]}'},
    "a 404": {"kind": "body", "status": 404, "body": '{"msg":"No records found"}'},
}


@pytest.mark.parametrize("knobs", EMPTY.values(), ids=EMPTY.keys())
async def test_nothing_there_is_an_answer(student, platform, knobs):
    """No course, a course that has not begun or a term without a quiz is no error."""
    platform.faults.set(**knobs)
    assert (await student.course_files()).courses == ()
    assert (await student.cards()).cards == []
    quizzes = json.loads((await student.quizzes()).body)
    assert not (quizzes["response"] and quizzes["response"]["data"])


async def test_a_404_that_speaks_of_no_list_is_a_fault(student, platform):
    """A wrong address is not an empty one."""
    platform.faults.set(kind="body", status=404, body='{"message":"Not Found"}')
    assert type(await student.fault(student.course_files)) is UpstreamRejected


async def test_a_404_of_many_words_is_no_empty_list(student, platform):
    """A program's trace, say: only a short body is searched for words, on the loop."""
    body = '{"message":"No records found","trace":"%s"}' % ("no " * 2000)
    platform.faults.set(kind="body", status=404, body=body)
    assert type(await student.fault(student.cards)) is UpstreamRejected


async def test_a_404_in_json_is_an_empty_list_of_records(student, platform):
    """Whatever it says: the summary tells whether there should be records."""
    platform.faults.set(kind="body", status=404, body='{"message":"Not Found"}')
    assert (await student.cards()).cards == []


async def test_all_pages_of_a_list_are_asked_for(student, platform):
    """As many records come as the platform has, each once."""
    records = student.college.cards(student.student, student.courses[1].cf_id)
    platform.switch(page_size=4)
    cards = await student.cards(student.courses[1].cf_id)
    assert cards.complete
    assert [card.id for card in cards.cards] == [record["id"] for record in records]
    assert platform.counters.calls["cards"] == -(-len(records) // 4)
    assert platform.last["cards"].arguments["page"][0].decode() == str(
        platform.counters.calls["cards"]
    )


async def test_ten_pages_are_the_most(student, platform):
    """What is behind them stays unread, and the list says so."""
    platform.switch(page_size=1)
    cards = await student.cards(student.courses[1].cf_id)
    assert not cards.complete
    assert len(cards.cards) == platform.counters.calls["cards"] == 10


@pytest.mark.parametrize(
    "more", [{"last_page": 2}, {"total": 2}, {"next_page_url": "/cards?page=2"}]
)
async def test_any_word_of_more_pages_is_followed(student, platform, more):
    """Page 2 is page 1 again here: the list is not complete, nothing counts twice."""
    rows = [{"state": "Absent", "start_time": "2025-09-01 08:50", "date_formatted": ""}]
    body = json.dumps({"msg": "", "response": {"data": rows, **more}})
    platform.faults.set("cards", kind="body", body=body)
    cards = await student.cards()
    assert (len(cards.cards), cards.complete) == (1, False)
    assert platform.counters.calls["cards"] == 2


async def test_a_page_that_fails_leaves_the_others(student, platform):
    """What has come is kept, and is known not to be all."""
    platform.switch(page_size=4)
    platform.faults.set("cards", kind="html", match="page=3")
    cards = await student.cards(student.courses[1].cf_id)
    assert (len(cards.cards), cards.complete) == (8, False)


async def test_four_thousand_records_are_read():
    """They are read from one answer, well within a request's time."""
    college = College(students=1, records_per_subject=4000)
    platform = SimulatedPlatform(college)
    client = await client_of(await platform.start())
    assert len((await Student(client, college).cards()).cards) == 4000
    await client.close()
    await platform.stop()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_the_token_travels_in_a_header(student, platform, endpoint):
    """In a URL it would be in every log and proxy on the way (docs/contract.rst 6)."""
    await getattr(student, endpoint)()
    request = platform.last[endpoint]
    assert request.headers["Authorization"] == f"Bearer {student.token}"
    assert student.token not in request.uri
    assert platform.counters.query_tokens == 0
