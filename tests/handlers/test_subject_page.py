"""The page of one subject, and the course files that say whose it is."""

import asyncio
import json

import pytest

from .kept import refreshed
from .paths import subject_path

# Of which half is waited for newer course files, if they are waited for.
pytestmark = [
    pytest.mark.gen_test,
    pytest.mark.settings(REQUEST_TIMEOUT_SECONDS="300", GATHER_TIMEOUT_SECONDS="300"),
]


@pytest.fixture(name="path")
def _path(student, college):
    return subject_path(student.id, college.courses(student)[0].cf_id)


@pytest.mark.parametrize(("later", "outcome"), [(110, "HIT"), (310, "STALE")])
async def test_a_kept_subject_waits_for_no_course_files(
    front, token, platform, clock, worker, path, later, outcome
):
    """It is the student's by old ones. Newer ones are not asked for either, of which
    the page would show nothing.
    """
    await front.ask("/api/attendance", token)
    clock.advance(200)
    assert (await front.ask(path, token)).code == 200
    clock.advance(later)
    page = await front.ask(path, token)
    assert (page.code, page.headers["X-Cache"]) == (200, outcome)
    await refreshed(worker)
    assert platform.counters.calls["course_files"] == 1


async def test_a_subject_that_old_course_files_lack_waits_for_newer_ones(
    front, token, platform, clock, student, college, path
):
    """A subject missing in old course files may be new: newer ones are fetched."""
    row = {"id": college.courses(student)[1].cf_id, "student_id": student.id}
    body = json.dumps({"response": {"data": [row]}})
    platform.faults.set("course_files", kind="body", body=body)
    await front.ask("/api/attendance", token)
    assert (await front.ask(path, token)).code == 404
    platform.faults.clear()
    clock.advance(310)
    platform.hold("course_files")
    asked = asyncio.ensure_future(front.ask(path, token))
    await platform.until(lambda seen: seen.now["course_files"] == 1)
    platform.release()
    assert (await asked).code == 200


async def test_old_course_files_that_name_nobody_forbid_nothing(
    front, platform, clock, student, college, path
):
    """With a token that names nobody either, newer ones say whose the subject is."""
    cf_id = college.courses(student)[0].cf_id
    body = json.dumps({"response": {"data": [{"id": cf_id}]}})
    platform.faults.set("course_files", kind="body", body=body)
    assert (await front.ask(path, "opaque")).code == 403
    clock.advance(310)
    whole = json.dumps({"response": {"data": college.course_files(student)}})
    platform.faults.set("course_files", kind="body", body=whole)
    platform.faults.set("cards", kind="body", body='{"response":{"data":[]}}')
    assert (await front.ask(path, "opaque")).code == 200
