"""The operator's page in a browser."""

from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from axe_playwright_python.sync_playwright import Axe

from .visiting import METRICS_TOKEN

pytestmark = pytest.mark.process


class Open(Protocol):
    """Opens the page with options of Playwright's new_context."""

    def __call__(self, **options: Any) -> Any:
        """The page, once it shows figures."""


@pytest.fixture(name="open_status")
def _open_status(browser, demo) -> Iterator[Open]:
    """Opens the page as a user who knows the token; no script of it may fail."""
    contexts = []
    complaints: list[str] = []

    def open_status(**options: Any) -> Any:
        user = {"username": "operator", "password": METRICS_TOKEN}
        context = browser.new_context(http_credentials=user, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        assert page.goto(f"{demo.url}status").status == 200
        page.wait_for_selector("#age.good")
        return page

    yield open_status
    for context in contexts:
        context.close()
    assert complaints == []


def test_a_browser_asks_its_user_for_the_token(open_status):
    """A Basic challenge in any form that it cannot read would leave nothing to do."""
    assert "Requests a second" in open_status().inner_text("#now")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(open_status, theme):
    """It finds none in both themes, also where tables have to be scrolled."""
    narrow = {"width": 320, "height": 800}
    page = open_status(color_scheme=theme, viewport=narrow)
    assert [rule["id"] for rule in Axe().run(page).response["violations"]] == []


def test_a_screen_reader_reads_failures_alone(open_status):
    """A screen reader announces failures and not each refresh."""
    page = open_status()
    assert page.get_attribute("#age", "aria-live") == "off"
    page.route("**/status", lambda route: route.abort())
    page.wait_for_selector("#age.bad[aria-live=polite]")
    page.unroute("**/status")
    page.wait_for_selector("#age.good[aria-live=off]")


def test_a_service_that_hangs_is_said(open_status):
    """Old figures are not shown as current while no answer comes."""
    page = open_status()
    page.evaluate(
        """() => {
          const timeout = AbortSignal.timeout.bind(AbortSignal);
          AbortSignal.timeout = (milliseconds) => timeout(milliseconds / 100);
        }"""
    )
    page.route("**/status", lambda route: None)
    page.wait_for_selector("#age.bad")


def test_no_rate_is_negative(open_status):
    """The service's counts begin anew with it, while the page goes on."""
    page = open_status()
    figures = page.evaluate(
        """async () => (await fetch("status",
          {headers: {Accept: "application/json"}})).json()"""
    )
    totals = iter([10**6])

    def answer(route):
        figures["requests"]["total"] = next(totals, 1)
        route.fulfill(json=figures)

    page.evaluate(
        """() => {
          window.seen = [];
          const look = () => seen.push(document.querySelector("#now b").textContent);
          const now = document.getElementById("now");
          new MutationObserver(look).observe(now, {childList: true});
        }"""
    )
    page.route("**/status", answer)
    page.wait_for_function("() => seen.includes('0') && seen.length > 2")
    assert [rate for rate in page.evaluate("seen") if rate.startswith("-")] == []


def test_a_worker_is_up_by_the_services_clock(open_status):
    """Its uptime does not depend on the operator's own clock."""
    page = open_status()
    page.clock.set_fixed_time("2100-01-01")
    for _ in range(2):  # the first is drawn before the second is asked for
        with page.expect_response("**/status"):
            pass
    minutes = page.inner_text("#workers td:nth-child(4)")
    assert minutes.endswith(" min")
    assert float(minutes.removesuffix(" min").replace(",", "")) < 10_000
