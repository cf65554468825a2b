"""The README against what it speaks of."""

import json
import re
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from aims_server.web import openapi

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.rst").read_text("utf-8")


@pytest.fixture(scope="module", name="readme")
def _readme() -> nodes.document:
    """The parsed page; whatever docutils would warn of is an error."""
    return publish_doctree(TEXT, settings_overrides={"halt_level": 2})


def section(readme: nodes.document, title: str) -> nodes.section:
    """The section of this title."""
    (found,) = (
        part for part in readme.findall(nodes.section) if part[0].astext() == title
    )
    return found


def test_every_endpoint_is_named(readme):
    """The table and the document have the same paths."""
    shown = section(readme, "Endpoints").astext()
    named = set(re.findall(r"(?<!\S)/(?:[a-z/.-]*[a-z])?(?![^\s;,])", shown))
    assert named == set(json.loads(openapi.load_openapi())["paths"])


def test_the_two_commands_come_first():
    """A newcomer reads them before anything is explained."""
    first = TEXT.partition("::\n")[2].strip().splitlines()[:2]
    assert [line.split("#")[0].strip() for line in first] == ["make demo", "make test"]


def test_it_stays_short():
    """It has at most two hundred lines; the rest is in docs/."""
    assert len(TEXT.splitlines()) <= 200


def test_every_make_target_exists():
    """What is to be typed can be typed."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    typed = re.findall(r"(?:^ +|`)make ([a-z]+)", TEXT, re.M)
    assert {"demo", "test"} <= {*typed} <= {*targets}


def test_every_link_leads_somewhere(readme):
    """Files that the page refers to are there."""
    links = {
        reference["refuri"]
        for reference in readme.findall(nodes.reference)
        if "refuri" in reference
    }
    assert links
    for link in links:
        assert "://" in link or (ROOT / link).exists(), link
