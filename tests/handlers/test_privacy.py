"""Nobody is given what the platform made for another, and nothing of it is kept."""

import json

import pytest

from aims_server import pages


@pytest.mark.gen_test
@pytest.mark.parametrize("page", [pages.ATTENDANCE, pages.ALL_ATTENDANCE])
async def test_another_students_course_files_are_never_served(
    front, platform, college, student, token, worker, page
):
    """A platform that answers consistently for somebody else: 502, nothing kept, and
    the somebody notices nothing.
    """
    other = college.student(7)
    bystander = await front.ask(page.path, college.token(other))
    entries = len(worker.store)
    platform.switch(answers_for=other.id)
    refused = await front.ask(page.path, token)
    assert refused.code == 502
    assert json.loads(refused.body)["code"] == "upstream_error"
    assert len(worker.store) == entries
    platform.switch(answers_for=None)
    again = await front.ask(page.path, college.token(other))
    assert (again.body, again.headers["X-Cache"]) == (bystander.body, "HIT")
