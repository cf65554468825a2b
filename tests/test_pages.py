"""The table of pages: each list that is made from it has every row, and whatever cannot
be made from it is held against it here.
"""

import json
import re
from typing import Any

import msgspec
import pytest

from aims_server import pages
from aims_server.demo.platform import SimulatedPlatform
from aims_server.domain import (
    all_attendance,
    attendance,
    days,
    subject_attendance,
    timetable,
)
from aims_server.metrics import labels
from aims_server.web import openapi

from .operations.test_monitoring import ALERT_EXPRESSIONS, DASHBOARD_EXPRESSIONS

DESCRIBED = json.loads(openapi.load_openapi())
SELECTED_ROUTES = re.compile(r'route\s*(=~|!~|!=|=)\s*"([^"]*)"')

# The schema of each answer that the service makes.
SCHEMAS: dict[str, type[msgspec.Struct]] = {
    "Attendance": attendance.Attendance,
    "CourseAttendance": attendance.CourseAttendance,
    "AllAttendance": all_attendance.AllAttendance,
    "Subject": all_attendance.Subject,
    "SubjectAttendance": subject_attendance.SubjectAttendance,
    "Day": days.Day,
    "Class": days.Detail,
    "Timetable": timetable.Timetable,
    "TimetableDay": timetable.TimetableDay,
    "TimetableSlot": timetable.TimetableSlot,
}


def routes(expression: str) -> list[set[str]]:
    """The routes that each selector of a query leaves, of those that selects any."""
    return [
        {
            route
            for route in labels.ROUTES
            if bool(re.fullmatch(pattern, route)) is not operator.startswith("!")
        }
        for operator, pattern in SELECTED_ROUTES.findall(expression)
    ]


@pytest.mark.parametrize("endpoint", pages.ENDPOINTS, ids=lambda row: row.name)
def test_the_description_has_every_endpoint(endpoint):
    """It has the methods of each row and no others."""
    described = {method.upper() for method in DESCRIBED["paths"][endpoint.path]}
    assert described == set(endpoint.methods)


def test_the_description_has_no_other_api():
    """Every path under /api is a row of the table."""
    described = {path for path in DESCRIBED["paths"] if path.startswith("/api/")}
    assert described == {endpoint.path for endpoint in pages.STUDENT_ENDPOINTS}


@pytest.mark.parametrize("endpoint", pages.ENDPOINTS, ids=lambda row: row.name)
def test_metrics_know_every_endpoint(endpoint):
    """The metrics have a label for every endpoint."""
    assert endpoint.name in labels.ROUTES
    for method in endpoint.methods:
        responses = DESCRIBED["paths"][endpoint.path][method.lower()]["responses"]
        listed = {int(status) for status in responses if status.isdigit()}
        assert set(labels.DOCUMENTED[endpoint.name, method]) == listed


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda row: row.name)
def test_metrics_know_every_page(page):
    """Lookups of it are counted under its own name."""
    assert set(page.resources) <= set(labels.RESOURCES)
    assert page.name in labels.STUDENT_ROUTES


def test_names_and_paths_are_unique():
    """No row hides another."""
    for column in ("name", "path"):
        values = [getattr(endpoint, column) for endpoint in pages.ENDPOINTS]
        assert len(set(values)) == len(values)


def test_a_page_with_parameters_is_not_prefetched():
    """There is no single answer of it that could be fetched."""
    for page in pages.PAGES:
        assert not (page.parameters and page.prefetched)


@pytest.mark.parametrize("expression", ALERT_EXPRESSIONS + DASHBOARD_EXPRESSIONS)
def test_alerts_and_panels_watch_every_page(expression):
    """A query that selects routes selects the students', with login or without, or
    login alone.
    """
    students, login = set(labels.STUDENT_ROUTES), {"login"}
    for selected in routes(expression):
        assert selected in (students, students - login, login)


def test_some_alerts_and_panels_select_routes():
    """There are alerts and panels for the test above to check."""
    for expressions in (ALERT_EXPRESSIONS, DASHBOARD_EXPRESSIONS):
        assert any(map(routes, expressions))


@pytest.mark.gen_test
@pytest.mark.parametrize("endpoint", pages.STUDENT_ENDPOINTS, ids=lambda row: row.name)
async def test_every_endpoint_answers_options(front, endpoint):
    """Allow has the row's methods, and HEAD where it has GET."""
    answer = await front.ask(endpoint.path, method="OPTIONS")
    allowed = answer.headers["Allow"].split(", ")
    head = {"HEAD"} if "GET" in endpoint.methods else set()
    assert set(allowed) == {*endpoint.methods, *head, "OPTIONS"}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "page", [row for row in pages.PAGES if not row.parameters], ids=lambda row: row.name
)
async def test_every_page_is_served(front, token, page, worker):
    """Each method works and is counted under its own route and resource."""
    for method in page.methods:
        body = {"token": token} if method == "POST" else None
        bearer = None if method == "POST" else token
        answer = await front.ask(page.path, bearer, method=method, body=body)
        assert answer.code == 200
    told = worker.metrics.exposition().decode()
    assert (
        f'aims_requests_total{{method="GET",route="{page.name}",status="200"}} 1.0'
        in told
    )
    assert f'outcome="MISS",resource="{page.resource}"}} 1.0' in told
    assert '"other"' not in told


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda row: row.name)
def test_the_answer_of_every_page_is_in_the_table_of_schemas(page):
    """Only the quizzes are the platform's own answer."""
    for method in page.methods:
        answer = DESCRIBED["paths"][page.path][method.lower()]["responses"]["200"]
        if "$ref" in answer:
            name = answer["$ref"].rpartition("/")[2]
            answer = DESCRIBED["components"]["responses"][name]
        schema = answer["content"]["application/json"]["schema"]["$ref"]
        assert page is pages.QUIZ or schema.rpartition("/")[2] in SCHEMAS


@pytest.mark.parametrize("name", SCHEMAS)
def test_answers_have_the_fields_of_their_schemas(name):
    """The fields have the schema's order and JSON names."""
    fields = [field.encode_name for field in msgspec.structs.fields(SCHEMAS[name])]
    schema: dict[str, Any] = DESCRIBED["components"]["schemas"][name]
    assert fields == list(schema["properties"])


@pytest.mark.settings(PREFETCH_ON_LOGIN="true")
@pytest.mark.gen_test
async def test_a_login_fetches_every_prefetched_page(
    front, student, platform: SimulatedPlatform
):
    """Afterwards each is there, or on its way."""
    token = await front.log_in(student)
    for page in pages.PAGES:
        if page.prefetched:
            answer = await front.ask(page.path, token)
            assert answer.headers["X-Cache"] in ("HIT", "PENDING")
