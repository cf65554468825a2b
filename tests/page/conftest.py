"""The demo and the browser, started once for all tests of the page."""

from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from .visiting import CHROMIUM, Demo, Visit, running_browser, running_demo


@pytest.fixture(scope="package")
def demo(tmp_path_factory) -> Iterator[Demo]:
    """The demo on a simulated platform."""
    with running_demo(tmp_path_factory.mktemp("demo")) as started:
        yield started


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Chromium, or a word why the tests are skipped."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian's package chromium)")
    with running_browser() as started:
        yield started


class MakeVisit(Protocol):
    """Makes a visit with options of Playwright's new_context."""

    def __call__(self, **options: Any) -> Visit:
        """Open the page in a profile of its own."""


@pytest.fixture
def visits(browser, demo) -> Iterator[MakeVisit]:
    """Makes visits; after the test none of them may have a complaint."""
    made: list[Visit] = []

    def visit(**options: Any) -> Visit:
        made.append(Visit(browser, demo, **options))
        return made[-1]

    demo.play("calm")
    yield visit
    demo.play("calm")
    for one in made:
        one.context.close()
    assert [one.complaints for one in made] == [[] for _ in made]


@pytest.fixture
def visit(visits: MakeVisit) -> Visit:
    """One visit on a phone."""
    return visits()


@pytest.fixture(scope="package")
def token(demo: Demo) -> str:
    """The student at the edge, logged in."""
    return demo.token(demo.students[1])


@pytest.fixture
def inside(visits: MakeVisit, token: str) -> Visit:
    """A visit as the student at the edge, every page loaded."""
    visit = visits(token=token)
    visit.settle()
    return visit
