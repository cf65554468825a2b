"""The examples of docs/frontend.rst as they are printed, run from another origin."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .visiting import Demo

pytestmark = pytest.mark.process

TEXT = (Path(__file__).parents[2] / "docs" / "frontend.rst").read_text("utf-8")
IN_SHORT, PROGRESS = (
    block for block in re.findall(r"::\n\n((?: {4}.*\n|\n)+)", TEXT) if "await" in block
)
PAGE = IN_SHORT[IN_SHORT.index("const page") :]
AROUND = """async ({url, username, password, token: given}) => {
    const calls = [];
    const told = (name) => (...values) => calls.push([name, ...values]);
    const [show, say, logInAgain, on] = ["show", "say", "logInAgain", "on"].map(told);
    const fetch = (path, options) => window.fetch(new URL(path, url), options);
    await (async (token) => {{ EXAMPLE }})(given);
    return calls;
}"""


@pytest.fixture
def page(browser, demo) -> Iterator[Any]:
    """A page of the other origin, which is the same server by another name."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{demo.other_origin}/health")
    yield page
    context.close()


def run(page: Any, demo: Demo, example: str, **values: str) -> Any:
    """What an example calls, when it has these values."""
    code = AROUND.replace("EXAMPLE", example)
    return page.evaluate(code, {"url": demo.url} | demo.students[0] | values)


def test_a_login_and_a_page(page, demo):
    """They are shown, with the header that another origin may read."""
    [[name, shown, cache]] = run(page, demo, IN_SHORT)
    assert name == "show"
    assert len(shown["subjects"]) == 15
    assert cache in {"HIT", "MISS", "PENDING"}


def test_an_answer_that_the_browser_keeps_is_checked(page, demo, token):
    """Its headers would call it as new as when it came, half an hour later."""
    answers = []
    page.on("response", lambda answer: answers.append(answer))
    for _ in range(2):
        [[name, shown, _]] = run(page, demo, PAGE, token=token)
        assert (name, len(shown["subjects"])) == ("show", 15)
    read = [answer.headers for answer in answers if answer.request.method == "GET"]
    assert len({headers["x-request-id"] for headers in read}) == 2


def test_a_wrong_password(page, demo):
    """It is said in the sentence of the answer."""
    [[name, error, wait]] = run(page, demo, IN_SHORT, password="wrong")
    assert (name, wait) == ("say", None)
    assert error


def test_the_progress(page, demo, token):
    """The page is the last event, and whole; also where streams cannot be iterated, as
    on an iPhone.
    """
    page.evaluate("delete ReadableStream.prototype[Symbol.asyncIterator]")
    calls = run(page, demo, PROGRESS, token=token)
    assert calls[-1][:2] == ["on", "page"]
    assert len(calls[-1][2]["subjects"]) == 15
