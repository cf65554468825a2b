"""A login warms the pages that follow."""

import asyncio
import gc
import json

import pytest

from ..waiting import eventually
from .kept import outcomes, refreshed

WARMED = ["/api/attendance", "/api/all-attendance", "/api/quiz"]


pytestmark = pytest.mark.settings(PREFETCH_ON_LOGIN="true")


@pytest.mark.gen_test
async def test_the_page_after_a_login_is_at_hand(front, student, platform, college):
    """Each of the three is HIT or PENDING, nothing is asked twice, and no timetable."""
    token = await front.log_in(student)
    answers = await asyncio.gather(*(front.ask(path, token) for path in WARMED))
    assert set(outcomes(answers)) <= {"HIT", "PENDING"}
    assert platform.counters.calls == {
        "authenticate": 1,
        "course_files": 1,
        "cards": len(college.courses(student)),
        "quizzes": 1,
    }


@pytest.mark.gen_test
async def test_a_login_does_not_wait_for_it(front, student, platform):
    """The login is answered while the platform still holds the pages."""
    for endpoint in ("course_files", "quizzes"):
        platform.hold(endpoint)
    assert await front.log_in(student)
    platform.release()


@pytest.mark.gen_test
async def test_it_never_fails_the_login(front, student, platform, worker):
    """A platform that then fails leaves the login as it was, and no complaint."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(
        lambda *told: complaints.append(told)
    )
    platform.faults.set("course_files", kind="reset")
    platform.faults.set("quizzes", kind="html")
    assert await front.log_in(student)
    await refreshed(worker)
    await eventually(lambda: not worker.service._background)
    gc.collect()
    assert complaints == []


@pytest.mark.gen_test
async def test_closing_ends_it(front, student, platform, worker):
    """A worker that leaves waits for no page that nobody asked for."""
    for endpoint in ("course_files", "quizzes"):
        platform.hold(endpoint)
    await front.log_in(student)
    assert len(worker.service._background) == len(WARMED)
    await worker.service.close()
    await eventually(lambda: not worker.service._background)
    platform.release()


@pytest.mark.gen_test
@pytest.mark.settings(PREFETCH_ON_LOGIN="false")
async def test_it_may_be_off(front, student, worker):
    """Then a login is all that is asked for."""
    assert await front.log_in(student)
    assert not worker.service._background


@pytest.mark.gen_test
async def test_a_refused_login_fetches_nothing(front, student, platform):
    """Only a token begins a prefetch."""
    await front.ask(
        "/api/login",
        method="POST",
        body={"username": student.username, "password": "wrong"},
    )
    await asyncio.sleep(0.05)
    assert platform.counters.calls == {"authenticate": 1}


@pytest.mark.gen_test
async def test_a_login_that_names_another_student(
    front, college, student, platform, worker
):
    """It is answered all the same; its token has no standing and fetches nothing."""
    token = college.token(student)
    said = {"status": 1, "token": token, "response": {"id": college.student(7).id}}
    platform.faults.set("authenticate", kind="body", body=json.dumps(said))
    assert await front.log_in(student) == token
    assert not worker.sessions.read(token).verified
    assert not worker.service._background
