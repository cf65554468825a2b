"""The demo and the browser, started once for all tests of the page."""

from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from .visiting import CHROMIUM, Demo, Profile, Visit, running_browser, running_demo


@pytest.fixture(scope="package")
def demo(tmp_path_factory) -> Iterator[Demo]:
    """The demo on a simulated platform."""
    with running_demo(tmp_path_factory.mktemp("demo")) as started:
        yield started


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Chromium, or a word why the tests are skipped."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian's chromium-headless-shell)")
    with running_browser() as started:
        yield started


@pytest.fixture(scope="package")
def profiles(browser, demo) -> Iterator[list[Profile]]:
    """The profile that visits share, once there is one."""
    shared: list[Profile] = []
    yield shared
    for profile in shared:
        profile.context.close()


class MakeVisit(Protocol):
    """Makes a visit with options of `Visit`."""

    def __call__(self, profile: dict[str, Any] | None = None, **options: Any) -> Visit:
        """Open the page; in a new ``profile`` with these options of Playwright's
        `new_context`, where there are any.
        """


@pytest.fixture
def visits(browser, demo, profiles) -> Iterator[MakeVisit]:
    """Makes visits; after the test none of them may have a complaint."""
    made: list[Visit] = []
    own: list[Any] = []

    def visit(profile: dict[str, Any] | None = None, **options: Any) -> Visit:
        if profile is not None:
            own.append(browser.new_context(**profile))
        elif not profiles:
            profiles.append(Profile(browser, demo))
        context = profiles[0].context if profile is None else own[-1]
        made.append(Visit(context, demo, **options))
        return made[-1]

    demo.play("calm")
    yield visit
    demo.play("calm")
    for context in own:
        context.close()
    if profiles and not profiles[0].tidy():
        profiles.pop().context.close()
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
    return visits(token=token)
