"""The document and its page, through HTTP; and the document against itself."""

import gzip
import json
import re
from typing import Any

import jsonschema_rs
import pytest
import yaml

import aims_server
from aims_server import openapi

WRITTEN = yaml.safe_load(openapi.DOCUMENT.with_suffix(".yaml").read_text("utf-8"))
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
    whole = {**schema, "components": WRITTEN["components"]}
    return jsonschema_rs.validator_for(whole).is_valid(value)


def test_the_served_form_is_the_written_one():
    """openapi.json says what openapi.yaml says; if not, run `make openapi`."""
    assert json.loads(openapi.load()) == WRITTEN


def test_the_document_is_of_this_version():
    """A document names the version that serves it."""
    assert WRITTEN["info"]["version"] == aims_server.__version__


def test_every_example_fits_its_schema():
    """What the document shows is what it says."""
    shown = [
        (media["schema"], value) for media, value in each(WRITTEN, "example")
        if "schema" in media
    ] + [
        (schema, value)
        for schema, values in each(WRITTEN["components"]["schemas"], "examples")
        for value in values
    ]  # fmt: skip
    assert len(shown) > 30
    assert [value for schema, value in shown if not fits(schema, value)] == []


def test_what_the_service_makes_is_closed():
    """Every object is closed, but for requests and the platform's own."""
    schemas = WRITTEN["components"]["schemas"]
    open_ones = {
        name
        for name, schema in schemas.items()
        if schema.get("type") == "object" and "additionalProperties" not in schema
    }
    assert open_ones == {
        "Credentials", "SubjectRequest",
        "PlatformObject", "PlatformLogin", "PlatformQuizzes", "PlatformQuiz",
    }  # fmt: skip


def test_every_field_of_a_closed_object_is_required():
    """The service leaves no field out."""
    for schema, closed in each(
        WRITTEN["components"]["schemas"], "additionalProperties"
    ):
        if closed is False:
            assert schema["required"] == list(schema["properties"])


def test_operation_ids_are_unique():
    """Generated clients name their calls by them."""
    names = [name for _, name in each(WRITTEN["paths"], "operationId")]
    assert len(names) == len(set(names)) == sum(map(len, WRITTEN["paths"].values()))


@pytest.mark.gen_test
async def test_the_paths_and_methods_are_the_services_own(front):
    """Every path answers OPTIONS with the very methods that the document has."""
    for path, item in WRITTEN["paths"].items():
        answer = await front.ask(path, method="OPTIONS")
        allowed = answer.headers["Allow"].lower().split(", ")
        assert {*allowed} == {*item, "options"}, path


@pytest.mark.gen_test
async def test_the_document_is_served(front, platform):
    """GET /openapi.json gives it to everybody, and asks no platform."""
    answer = await front.ask("/openapi.json")
    assert answer.code == 200
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(answer.body) == WRITTEN
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
    """No inline script, no other host, no frame round the page."""
    policy = (await front.ask(path)).headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "name", ["", "docs", "openapi.json", "redoc.js", "..", "../setup.py", "%2e%2e/x.py"]
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
