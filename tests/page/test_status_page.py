"""The operator's page in a browser."""

import pytest

from .visiting import METRICS_TOKEN

pytestmark = pytest.mark.process


def test_a_browser_asks_its_user_for_the_token(browser, demo):
    """A Basic challenge in any form that it cannot read would leave nothing to do."""
    user = {"username": "operator", "password": METRICS_TOKEN}
    context = browser.new_context(http_credentials=user)
    page = context.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    assert page.goto(f"{demo.url}status").status == 200
    page.wait_for_selector("#age.good")
    assert "Requests a second" in page.inner_text("#now")
    assert complaints == []
    context.close()
