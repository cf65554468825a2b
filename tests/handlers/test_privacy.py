"""Nobody is given what the platform made for another, and nothing of it is kept."""

import asyncio
import json

import pytest

from aims_server import pages

from ..waiting import eventually
from .kept import pages_shared
from .paths import subject_path


@pytest.mark.gen_test
@pytest.mark.parametrize("page", [pages.ATTENDANCE, pages.ALL_ATTENDANCE])
async def test_another_students_course_files_are_never_served(
    front, platform, college, student, token, worker, page
):
    """A platform that answers consistently for somebody else: 502, nothing kept, and
    the somebody notices nothing.
    """
    other = college.student(7)
    other_token = college.token(other)
    bystander = await front.ask(page.path, other_token)
    kept = pages_shared(worker)
    assert kept > 0
    platform.switch(answers_for=other.id)
    refused = await front.ask(page.path, token)
    assert refused.code == 502
    assert json.loads(refused.body)["code"] == "upstream_error"
    assert pages_shared(worker) == kept
    platform.switch(answers_for=None)
    again = await front.ask(page.path, other_token)
    assert (again.body, again.headers["X-Cache"]) == (bystander.body, "HIT")


@pytest.mark.gen_test
async def test_another_students_quizzes_are_never_served(
    front, platform, college, student, worker
):
    """The admission number is known from the login."""
    token = await front.log_in(student)
    platform.switch(answers_for=college.student(7).id)
    kept = pages_shared(worker)  # by the prefetch that a login begins
    assert (await front.ask("/api/quiz", token)).code == 502
    assert pages_shared(worker) == kept


@pytest.mark.gen_test
async def test_quizzes_are_compared_with_earlier_ones(
    front, platform, college, token, clock
):
    """The first that name somebody decide; the kept ones stay, told as old."""
    first = await front.ask("/api/quiz", token)
    platform.switch(answers_for=college.student(7).id)
    clock.advance(40)
    fresh = {"Cache-Control": "no-cache"}
    again = await front.ask("/api/quiz", token, headers=fresh)
    assert (again.headers["X-Cache"], again.body) == ("STALE", first.body)


@pytest.mark.gen_test
@pytest.mark.parametrize("field", ["student_id", "fk_student"])
async def test_another_students_lists_are_no_quizzes(front, platform, token, field):
    """Nothing compares their admission number, as they have none."""
    body = f'{{"msg":"","response":{{"data":[{{"id":1,"{field}":1}}]}}}}'
    platform.faults.set("quizzes", kind="body", body=body)
    assert (await front.ask("/api/quiz", token)).code == 502


@pytest.mark.gen_test
@pytest.mark.parametrize("colon", [":", ": ", " : "])
async def test_a_logins_answer_is_no_quiz(front, platform, token, colon):
    """Its token would be passed on, and its PIN, however its JSON is spaced."""
    body = '{"status":1,"token":"a.b.c","response":{"id":5900001}}'
    platform.faults.set("quizzes", kind="body", body=body.replace(":", colon))
    assert (await front.ask("/api/quiz", token)).code == 502


@pytest.mark.gen_test
async def test_another_students_records_are_never_served(
    front, platform, college, student, token, worker
):
    """They are served for no subject, and none are kept."""
    await front.ask("/api/attendance", token)
    kept = pages_shared(worker)
    platform.switch(students_in_records=True, records_for=college.student(7).id)
    assert (await front.ask("/api/all-attendance", token)).code == 502
    cf_id = college.courses(student)[0].cf_id
    assert (await front.ask(subject_path(student.id, cf_id), token)).code == 502
    assert pages_shared(worker) == kept
    series = 'aims_upstream_wrong_students_total{endpoint="cards"}'
    assert f"{series} 0.0" not in worker.metrics.exposition().decode()


@pytest.mark.gen_test
async def test_another_students_records_cost_their_subject_alone(
    front, platform, college, student, token
):
    """The subject is in `incomplete`, without days; the others are whole."""
    courses = college.courses(student)
    body = '{"msg":"","response":{"data":[{"id":1,"state":"Present","fk_student":1}]}}'
    platform.faults.set(
        "cards", kind="body", body=body, match=f"cf_id={courses[0].cf_id}"
    )
    answer = await front.ask("/api/all-attendance", token)
    page = json.loads(answer.body)
    name, *others = page["subjects"]
    assert (answer.code, page["incomplete"]) == (200, [name])
    assert page["subjects"][name]["daily"] == []
    assert any(page["subjects"][other]["daily"] for other in others)


@pytest.mark.gen_test
async def test_records_may_name_their_student(front, platform, token):
    """Records that name the asker give the same page."""
    platform.switch(students_in_records=True)
    page = await front.ask("/api/all-attendance", token)
    assert (page.code, json.loads(page.body)["incomplete"]) == (200, [])


@pytest.mark.gen_test
async def test_an_empty_list_of_quizzes_gives_no_standing(
    front, platform, token, worker
):
    """It names nobody; quizzes that name the student do, and so does a login."""
    platform.faults.set("quizzes", kind="empty")
    assert (await front.ask("/api/quiz", token)).code == 200
    assert not worker.sessions.read(token).verified


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/api/quiz", "/api/attendance"])
async def test_an_answer_that_names_the_student_gives_standing(
    front, token, worker, path
):
    """The first such answer gives standing."""
    assert (await front.ask(path, token)).code == 200
    assert worker.sessions.read(token).verified


@pytest.mark.gen_test
async def test_no_answer_to_what_was_asked_before_a_refusal_gives_standing(
    front, token, platform, worker
):
    """An answer that comes after its token's refusal gives none."""
    platform.hold("course_files")
    asked = asyncio.ensure_future(front.ask("/api/attendance", token))
    await eventually(lambda: platform.counters.calls["course_files"])
    platform.faults.set("quizzes", kind="body", status=401, body="{}")
    assert (await front.ask("/api/quiz", token)).code == 401
    platform.release()
    assert (await asked).code == 200
    assert not worker.sessions.read(token).verified


@pytest.mark.gen_test
async def test_a_login_gives_standing(front, student, worker):
    """A login gives standing to the token that it brought."""
    token = await front.log_in(student)
    assert worker.sessions.read(token).verified_student == student.id


@pytest.mark.gen_test
@pytest.mark.parametrize("page", [pages.ATTENDANCE, pages.ALL_ATTENDANCE])
async def test_the_operator_is_told_of_a_wrong_student(
    front, platform, college, token, worker, access_lines, page
):
    """There is one error in the log, without number or name, and a count."""
    other = college.student(7)
    platform.switch(answers_for=other.id)
    await front.ask(page.path, token)
    lines = access_lines.told()
    (told,) = [line for line in lines if line["level"] == "error"]
    assert "another student" in told["message"]
    assert str(other.id) not in json.dumps(told)
    counted = worker.metrics.exposition().decode()
    series = 'aims_upstream_wrong_students_total{endpoint="course_files"} 1.0'
    assert series in counted


@pytest.mark.gen_test
async def test_a_refused_token_takes_all_that_was_kept_for_it(
    front, platform, token, worker, clock
):
    """All of it is dropped, also when its session was forgotten meanwhile."""
    for page in (pages.ATTENDANCE, pages.QUIZ):
        assert (await front.ask(page.path, token)).code == 200
    worker.sessions._sessions.clear()
    platform.revoke(token)
    clock.advance(40)
    fresh = {"Cache-Control": "no-cache"}
    assert (await front.ask(pages.QUIZ.path, token, headers=fresh)).code == 401
    assert len(worker.kept.memory) == 0
    assert (await front.ask(pages.ATTENDANCE.path, token)).code == 401


class TestSubjects:
    """Records of one course file."""

    @pytest.mark.gen_test
    async def test_only_the_students_own_course_files_are_asked_for(
        self, front, platform, student, token
    ):
        """404 for any other, and no call for its records."""
        for number in range(7):
            answer = await front.ask(subject_path(student.id, 1 + number), token)
            assert answer.code == 404
            assert json.loads(answer.body)["code"] == "not_found"
        assert platform.counters.calls == {"course_files": 1}

    @pytest.mark.gen_test
    async def test_what_is_kept_is_one_entry_a_course_file(
        self, front, college, platform, student, token, machine
    ):
        """All names of a course share one entry; each answer has the name requested."""
        cf_id = college.courses(student)[0].cf_id
        await front.ask(subject_path(student.id, cf_id), token)
        kept = machine.pages.bytes_written
        for number in range(30):
            answer = await front.ask(
                subject_path(student.id, cf_id, f"N{number}"), token
            )
            assert answer.headers["X-Cache"] == "HIT"
            assert json.loads(answer.body)["subject"] == f"N{number}"
        assert machine.pages.bytes_written == kept
        assert platform.counters.calls["cards"] == 1
