"""The document and its page, through HTTP; and the document against itself."""

import gzip
import json
import re
from typing import Any
from urllib.parse import urlencode, urljoin

import jsonschema_rs
import pytest
import yaml
from tornado.httpclient import HTTPResponse

import aims_server
from aims_server import errors
from aims_server.web import openapi

from .paths import PAGES, subject_path

SERVED = json.loads(openapi.load_openapi())
ERROR = {"$ref": "#/components/schemas/Error"}
FILES = ["/openapi.json", "/docs", "/docs/swagger-ui.js", "/docs/swagger-ui.css"]


def each(node: Any, key: str) -> list[tuple[dict[str, Any], Any]]:
    """Every object of a document that has this key, with what stands under it."""
    if isinstance(node, list):
        return [hit for item in node for hit in each(item, key)]
    if not isinstance(node, dict):
        return []
    own = [(node, node[key])] if key in node else []
    return own + [hit for item in node.values() for hit in each(item, key)]


def fits(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value is what a schema of the document says."""
    whole = {**schema, "components": SERVED["components"]}
    return jsonschema_rs.validator_for(whole).is_valid(value)


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """What a reference stands for."""
    for name in node.get("$ref", "#").split("/")[1:]:
        node = SERVED[name] if name == "components" else node[name]
    return node


def codes(media: dict[str, Any]) -> set[str]:
    """The codes of an error that the examples of an answer show."""
    named = [example["value"] for example in media.get("examples", {}).values()]
    return {body["code"] for body in [*named, media.get("example")] if body}


def check(answer: HTTPResponse, path: str, method: str = "GET") -> None:
    """Hold an answer to the document: status, headers and body."""
    listed = SERVED["paths"][path][method.lower()]["responses"]
    said = resolved(listed[str(answer.code)])
    for name, header in said.get("headers", {}).items():
        header = resolved(header)
        if name not in answer.headers and not header["required"]:
            continue
        text = answer.headers[name]
        value = int(text) if header["schema"].get("type") == "integer" else text
        assert fits(header["schema"], value), (name, text)
    if "content" not in said:
        assert answer.body == b""
        return
    media = said["content"][answer.headers["Content-Type"].partition(";")[0]]
    text = answer.body.decode()
    body: Any = json.loads(text) if text[0] == "{" else text
    assert fits(media["schema"], body), text
    assert media["schema"] != ERROR or body["code"] in codes(media), text


def test_the_served_form_is_the_written_one():
    """openapi.json says what openapi.yaml says; if not, run `make openapi`."""
    written = openapi.DOCUMENT.with_suffix(".yaml").read_text("utf-8")
    assert yaml.safe_load(written) == SERVED


def test_the_document_is_of_this_version():
    """A document names the version that serves it."""
    assert SERVED["info"]["version"] == aims_server.__version__


def test_every_example_fits_its_schema():
    """What the document shows is what it says."""
    shown = [
        (media["schema"], value) for media, value in each(SERVED, "example")
        if "schema" in media
    ] + [
        (media["schema"], named["value"])
        for media, examples in each(SERVED["components"]["responses"], "examples")
        for named in examples.values()
    ] + [
        (schema, value)
        for schema, values in each(SERVED["components"]["schemas"], "examples")
        for value in values
    ]  # fmt: skip
    assert len(shown) > 30
    assert [value for schema, value in shown if not fits(schema, value)] == []


def test_every_answer_of_an_error_shows_each_of_its_codes():
    """A status has the same codes in the document as in the tree of errors, and each
    stands in an example of its own, with a sentence that the service says.
    """
    ours: dict[str, set[str]] = {}
    for failure in map(vars(errors).get, errors.__all__):
        if isinstance(failure, type) and issubclass(failure, errors.ApiError):
            ours.setdefault(str(failure.status), set()).add(failure.code)
    for _, listed in each(SERVED["paths"], "responses"):
        for status, answer in listed.items():
            for media in resolved(answer).get("content", {}).values():
                if media["schema"] == ERROR:
                    assert codes(media) == ours[status], status


def test_the_document_is_valid():
    """It is an OpenAPI 3.1 document; `make apilint` asks redocly and spectral."""
    # Here, since each process would take 0.2 s for it to collect its tests.
    from openapi_spec_validator import OpenAPIV31SpecValidator

    assert [*OpenAPIV31SpecValidator(SERVED).iter_errors()] == []


def test_what_the_service_makes_is_closed():
    """Every object is closed, but for requests and the platform's own."""
    schemas = SERVED["components"]["schemas"]
    open_ones = {
        name
        for name, schema in schemas.items()
        if schema.get("type") == "object"
        and schema.get("additionalProperties", True) is True
    }
    assert open_ones == {
        "Credentials", "CredentialsForm", "SubjectRequest",
        "LoginRefusal", "PlatformLogin",
        "PlatformQuizzes", "PlatformQuizList", "PlatformQuiz",
    }  # fmt: skip


def test_every_field_of_a_closed_object_is_required():
    """The service leaves no field out but a class's teacher, where none is named."""
    schemas = SERVED["components"]["schemas"]
    for schema, closed in each(schemas, "additionalProperties"):
        if closed is False:
            optional = {"faculty"} if schema is schemas["Class"] else set()
            always = [name for name in schema["properties"] if name not in optional]
            assert schema["required"] == always


@pytest.mark.parametrize("folder", ["http://a.example/", "http://a.example/prefix/"])
def test_calls_go_where_the_document_is(folder):
    """The server's URL is relative, so that it works behind a proxy's prefix."""
    (server,) = SERVED["servers"]
    assert urljoin(f"{folder}openapi.json", server["url"]) == folder


def test_operation_ids_are_unique():
    """Generated clients name their calls by them."""
    names = [name for _, name in each(SERVED["paths"], "operationId")]
    assert len(names) == len(set(names)) == sum(map(len, SERVED["paths"].values()))


def test_every_operation_says_which_credential_it_takes():
    """Each has its security and a description, as redocly and spectral require."""
    for path, item in SERVED["paths"].items():
        for method, operation in item.items():
            told = {"security", "description", "summary"}
            assert told <= {*operation}, (path, method)


@pytest.mark.settings(STATUS_PAGE="true")
@pytest.mark.gen_test
async def test_the_paths_and_methods_are_the_services_own(front):
    """Every path answers OPTIONS with the methods of the document, and HEAD."""
    for path, item in SERVED["paths"].items():
        answer = await front.ask(path, method="OPTIONS")
        allowed = answer.headers["Allow"].lower().split(", ")
        head = {"head"} if "get" in item else set()
        assert {*allowed} == {*item, "options"} | head, path


@pytest.mark.gen_test
async def test_a_slash_too_many_leads_back(front):
    """/docs/ is /docs, also behind a proxy's prefix."""
    answer = await front.ask("/docs/")
    assert (answer.code, answer.headers["Location"]) == (302, "../docs")


@pytest.mark.gen_test
async def test_the_document_is_served(front, platform):
    """GET /openapi.json gives it to everybody, and asks no platform."""
    answer = await front.ask("/openapi.json")
    assert answer.code == 200
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(answer.body) == SERVED
    assert platform.counters.total == 0


@pytest.mark.gen_test
@pytest.mark.parametrize("path", FILES)
async def test_files_are_sent_once(front, path):
    """Packed for those who take gzip, and 304 to those who have them already."""
    plain = await front.ask(path)
    packed = await front.ask(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["Etag"] != plain.headers["Etag"]
    assert "Accept-Encoding" in packed.headers["Vary"]
    again = await front.ask(path, headers={"If-None-Match": plain.headers["Etag"]})
    assert (again.code, again.body) == (304, b"")


@pytest.mark.gen_test
async def test_the_page_and_its_files_name_no_other_host(front):
    """All that the page loads is its own, by addresses that a prefix may precede."""
    page = (await front.ask("/docs")).body.decode()
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert {name for name in loaded if ":" in name or name.startswith("/")} == {
        "data:,"
    }
    for name in loaded:
        if name != "data:,":
            assert (await front.ask(f"/{name}")).code == 200
    style = (await front.ask("/docs/swagger-ui.css")).body.decode()
    assert re.findall(r"@import|url\((?!['\"]?data:)[^)]*\)", style) == []


@pytest.mark.gen_test
@pytest.mark.parametrize("path", FILES)
async def test_a_browser_is_told_to_load_nothing_from_elsewhere(front, path):
    """It allows no inline script, no other host and no frame around the page."""
    policy = (await front.ask(path)).headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "name", ["docs", "openapi.json", "redoc.js", "..", "../setup.py", "%2e%2e/x.py"]
)
async def test_nothing_else_is_served(front, name):
    """A name that the page does not use is not there, whatever the package holds."""
    answer = await front.ask(f"/docs/{name}")
    assert answer.code == 404
    assert json.loads(answer.body)["code"] == "not_found"


@pytest.mark.gen_test
async def test_the_viewer_reads_documents_of_this_kind(front):
    """Swagger UI reads OpenAPI 3.1 from its version 5 on."""
    script = (await front.ask("/docs/swagger-ui.js")).body.decode()
    version = re.search(r'PACKAGE_VERSION:"(\d+)\.', script)
    assert version is not None
    assert int(version[1]) >= 5


@pytest.mark.settings(REQUEST_TIMEOUT_SECONDS="3", RATE_LIMIT_PER_MINUTE="8")
class TestAnswers:
    """Answers of the service, each held to the document."""

    @pytest.mark.gen_test
    @pytest.mark.parametrize("path", PAGES)
    async def test_pages(self, front, token, path):
        """A page, and the word that it has not changed."""
        page = await front.ask(path, token)
        assert page.code == 200
        check(page, path)
        tag = {"If-None-Match": page.headers["Etag"]}
        same = await front.ask(path, token, headers=tag)
        assert same.code == 304
        check(same, path)

    @pytest.mark.gen_test
    @pytest.mark.parametrize(
        ("path", "media"),
        [
            ("/api/all-attendance", "text/event-stream"),
            ("/api/timetable", "text/calendar"),
        ],
    )
    async def test_a_page_in_its_other_form(self, front, token, path, media):
        """Events have none of the headers that tell of what is kept."""
        page = await front.ask(path, token, headers={"Accept": media})
        assert page.code == 200
        check(page, path)

    @pytest.mark.gen_test
    @pytest.mark.parametrize(
        "sent",
        [
            '{"msg":"No record found"}',
            '{"response":[]}',
            '{"response":{"data":null}}',
            '{"response":{"data":[{"marks_obtained":-1,"status":true}]}}',
            '{"x" : 1}',
        ],
    )
    async def test_quizzes_in_whatever_form(self, front, token, platform, sent):
        """Quizzes are passed on unchanged in every form."""
        platform.faults.set("quizzes", kind="body", body=sent)
        page = await front.ask("/api/quiz", token)
        assert (page.code, page.body.decode()) == (200, sent)
        check(page, "/api/quiz")

    @pytest.mark.gen_test
    async def test_an_incomplete_page(self, front, token, college, student, platform):
        """A subject without days is in the schema too."""
        course = college.courses(student)[0]
        platform.faults.set("cards", kind="html", match=f"cf_id={course.cf_id}")
        page = await front.ask("/api/all-attendance", token)
        assert page.code == 200
        assert json.loads(page.body)["incomplete"]
        check(page, "/api/all-attendance")

    @pytest.mark.gen_test
    async def test_one_subject(self, front, token, college, student):
        """A subject's page, by GET and by POST, and a stranger's."""
        path = "/api/subject-attendance"
        cf_id = college.courses(student)[0].cf_id
        named = {"subject": "Any", "studentId": student.id, "cfId": cf_id}
        by_get = await front.ask(f"{path}?{urlencode(named)}", token)
        by_post = await front.ask(path, method="POST", body={**named, "token": token})
        assert by_get.code == by_post.code == 200
        check(by_get, path)
        check(by_post, path, "POST")
        other = await front.ask(subject_path(1, 1), token)
        assert other.code == 403
        check(other, path)

    @pytest.mark.gen_test
    async def test_login(self, front, student):
        """A token, a refusal in the platform's words, and one in ours."""
        right = {"username": student.username, "password": student.password}
        for body, status in (
            (right, 200),
            ({**right, "password": "x"}, 401),
            ({}, 400),
        ):
            answer = await front.ask("/api/login", method="POST", body=body)
            assert answer.code == status
            check(answer, "/api/login", "POST")

    @pytest.mark.gen_test
    @pytest.mark.parametrize("status", [413, 415, 429])
    async def test_a_login_that_the_platform_turns_down(
        self, front, student, platform, status
    ):
        """It has the platform's words beside the fields of every error."""
        said = '{"status":0,"msg":"Too many attempts."}'
        platform.faults.set("authenticate", kind="body", status=status, body=said)
        body = {"username": student.username, "password": student.password}
        answer = await front.ask("/api/login", method="POST", body=body)
        assert answer.code == status
        check(answer, "/api/login", "POST")

    @pytest.mark.gen_test
    @pytest.mark.parametrize(
        ("body", "headers", "status"),
        [
            ([], {}, 400),
            ({"token": "not.a.students"}, {}, 401),
            (b" " * 70_000, {}, 413),
            (b"{}", {"Content-Type": "text/plain"}, 415),
            (b"{}", {"Content-Encoding": "gzip"}, 415),
        ],
    )
    async def test_bodies_that_are_not_taken(self, front, body, headers, status):
        """Each fault of a client is answered as the document says."""
        answer = await front.ask(
            "/api/attendance", method="POST", body=body, headers=headers
        )
        assert answer.code == status
        check(answer, "/api/attendance", "POST")

    @pytest.mark.gen_test
    @pytest.mark.parametrize(
        ("kind", "status"), [("html", 502), ("rate_limited", 503), ("hang", 504)]
    )
    async def test_a_failing_platform(self, front, token, platform, kind, status):
        """What the platform does wrong."""
        platform.faults.set("quizzes", kind=kind, retry_after="50")
        answer = await front.ask("/api/quiz", token)
        assert answer.code == status
        check(answer, "/api/quiz")

    @pytest.mark.gen_test
    async def test_a_student_too_many(self, front, token):
        """The ninth request of eight."""
        for _ in range(9):
            answer = await front.ask("/api/quiz", token)
        assert answer.code == 429
        check(answer, "/api/quiz")

    @pytest.mark.gen_test
    async def test_operators(self, front, worker):
        """Health and figures, at work and while stopping."""
        for path in ("/health", "/health/live", "/metrics", "/openapi.json", "/docs"):
            answer = await front.ask(path)
            assert answer.code == 200
            check(answer, path)
        wanted = {"Accept": "application/json"}
        check(await front.ask("/metrics", headers=wanted), "/metrics")
        worker.lifecycle.draining = True
        answer = await front.ask("/health")
        assert answer.code == 503
        check(answer, "/health")


@pytest.mark.settings(
    LOGIN_FAILURES_PER_ADDRESS_PER_MINUTE="1",
    METRICS_TOKEN="metrics-token-of-a-test",
    STATUS_PAGE="true",
)
class TestRefusals:
    """What is refused only where it is set so."""

    @pytest.mark.gen_test
    async def test_an_address_of_too_many_refused_logins(self, front):
        """The second of one."""
        for name, status in (("nobody", 401), ("somebody", 429)):
            body = {"username": name, "password": "wrong"}
            answer = await front.ask("/api/login", method="POST", body=body)
            assert answer.code == status
            check(answer, "/api/login", "POST")

    @pytest.mark.gen_test
    @pytest.mark.parametrize("path", ["/metrics", "/status"])
    async def test_an_operator_without_the_token(self, front, path):
        """The 401 names the schemes that each of the two pages takes."""
        answer = await front.ask(path)
        assert answer.code == 401
        check(answer, path)

    @pytest.mark.gen_test
    @pytest.mark.parametrize("path", ["/metrics", "/status"])
    async def test_a_guess_too_many(self, front, path):
        """The eleventh guess in a minute is refused with 429."""
        for _ in range(11):
            answer = await front.ask(path, "wrong")
        assert answer.code == 429
        check(answer, path)
