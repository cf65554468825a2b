"""A client generated from the API description, used against the running service."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from aims_server.web import openapi

from ..waiting import PATIENCE_SECONDS


@dataclass
class Generated:
    """The package that openapi-python-client wrote, and what it said meanwhile."""

    name: str
    said: str

    def module(self, path: str) -> Any:
        """One of its modules; its names are known only once it is written."""
        return importlib.import_module(f"{self.name}.{path}")

    async def call(self, path: str, **arguments: Any) -> Any:
        """Make one of its calls."""
        return await self.module(f"api.{path}").asyncio_detailed(**arguments)


@pytest.fixture(scope="module", name="generated")
def _generated(tmp_path_factory) -> Iterator[Generated]:
    folder = tmp_path_factory.mktemp("generated")
    (folder / "options.yaml").write_text("post_hooks: []\n")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate"),
            *("--path", str(openapi.DOCUMENT), "--config", "options.yaml"),
            *("--meta", "none", "--output-path", "aims_client"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=5 * PATIENCE_SECONDS,
    )
    sys.path.insert(0, str(folder))
    yield Generated("aims_client", run.stdout + run.stderr)
    sys.path.remove(str(folder))


def test_the_generator_understands_the_document(generated):
    """It leaves out next to nothing: fewer than ten warnings."""
    assert generated.said.count("WARNING") < 10, generated.said


@pytest.mark.gen_test
async def test_a_student_logs_in_and_reads(generated, front, student, college):
    """The answers arrive as objects of the generated types, with the right figures."""
    models = generated.module("models")
    client = generated.module("client")
    async with client.Client(base_url=front.base_url) as anonymous:
        login = await generated.call(
            "students.log_in",
            client=anonymous,
            body=models.Credentials(student.username, student.password),
        )
        assert isinstance(login.parsed, models.PlatformLogin)
        health = await generated.call("operators.get_health", client=anonymous)
        assert health.parsed.status == "healthy"
    async with client.AuthenticatedClient(front.base_url, login.parsed.token) as mine:
        summary = (await generated.call("students.get_attendance", client=mine)).parsed
        assert isinstance(summary, models.Attendance)
        assert summary.student_id == student.id
        page = (await generated.call("students.get_all_attendance", client=mine)).parsed
        courses = college.courses(student)
        subjects = page.subjects.additional_properties
        assert len(subjects) == len(summary.daily_attendance) == len(courses)
        quizzes = (await generated.call("students.get_quiz", client=mine)).parsed
        assert isinstance(quizzes, models.PlatformQuizzes)
        name, subject = next(iter(subjects.items()))
        one = await generated.call(
            "students.get_subject_attendance",
            client=mine,
            subject=name,
            student_id=student.id,
            cf_id=subject.cf_id,
        )
        assert one.parsed.total_present == subject.total_present


@pytest.mark.gen_test
async def test_a_failure_is_an_error_with_its_code(generated, front):
    """The generated client returns the type that the document gives it."""
    client = generated.module("client")
    async with client.AuthenticatedClient(front.base_url, "not.a.students") as mine:
        refused = await generated.call("students.get_quiz", client=mine)
    assert refused.status_code == 401
    assert refused.parsed.code == "unauthorized"
