"""What a change of the content leaves as it was."""

from collections.abc import Callable

import pytest

from .visiting import Visit, pages_of

pytestmark = pytest.mark.process


def test_a_refresh_leaves_every_element_in_its_place(inside):
    """The focus, what is selected or scrolled, and what a screen reader listens to."""
    page = inside.page
    elements = "[...document.querySelectorAll('[role=status], h2, .card, #refresh')]"
    page.evaluate(f"window.before = {elements}")
    page.focus("#refresh")
    inside.refresh()
    assert page.evaluate("window.before.length") > 3
    assert page.evaluate(f"window.before.every((e, n) => e === {elements}[n])")
    assert page.evaluate("document.activeElement.id") == "refresh"


def test_a_screen_reader_hears_that_a_refresh_is_over(inside):
    """After "Loading" it hears the end, also if nothing has failed."""
    heard = """window.heard = []; new MutationObserver((changes) => heard.push(
      ...changes.flatMap(({addedNodes}) => [...addedNodes].map((n) => n.textContent)),
    )).observe(document.querySelector("[role=status]"), {childList: true})"""
    inside.page.evaluate(f"() => {{ {heard}; }}")
    inside.refresh()
    assert inside.page.evaluate("heard.at(-1)") == "Loaded."


@pytest.fixture
def visit(visits: Callable[..., Visit], token: str) -> Visit:
    """A student of three subjects."""
    return visits(token=token, answers=pages_of(["Maths", "Physics", "Art"]))


def refresh(visit: Visit, names: list[str]) -> None:
    """Have every page loaded anew, of these subjects now."""
    for name, answer in pages_of(names).items():
        visit.serve(name, answer)
    visit.refresh()


CHANGES = {
    "inserted": ["Chemistry", "Maths", "Physics", "Art"],
    "removed": ["Physics", "Art"],
    "moved to the front": ["Physics", "Maths", "Art"],
    "moved to the end": ["Maths", "Art", "Physics"],
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_if_stays_with_its_subject(visit, change):
    """Unfolded, with its sliders and the focus, when a refresh brings another list."""
    visit.show("subjects")
    card = visit.page.locator(".subject", has_text="Physics")
    card.locator("summary").click()
    slider = card.locator("input").first
    for _ in range(3):
        slider.press("ArrowRight")
    refresh(visit, CHANGES[change])
    assert visit.page.locator(".subject h2").all_inner_texts() == CHANGES[change]
    assert visit.page.locator(".subject:has([open]) h2").all_inner_texts() == [
        "Physics"
    ]
    values = visit.page.locator(".subject input").evaluate_all(
        "all => all.map((i) => i.value)"
    )
    assert sorted(values) == ["0"] * (len(values) - 1) + ["3"]
    assert slider.input_value() == "3"
    focused = visit.page.evaluate("document.activeElement.labels[0].textContent")
    assert focused == "Attend the next classes for Physics3"


ITEMS = {
    "today": "[aria-labelledby=attention-title] li",
    "subjects": ".subject",
    "calendar": ".split > .card li",
    "quizzes": ".card",
    "timetable": ".card li",
}


@pytest.mark.parametrize("view", ITEMS)
def test_what_is_listed_keeps_its_element(visit, view):
    """In every view a selection and a screen reader's place stay."""
    visit.show(view)
    items = f"[...document.querySelectorAll('{ITEMS[view]}')]"
    physics = f"{items}.find((item) => item.textContent.includes('Physics'))"
    visit.page.evaluate(f"window.before = {physics}")
    refresh(visit, ["Physics", "Art"])
    assert visit.page.evaluate("window.before instanceof Element")
    assert visit.page.evaluate(f"window.before === {physics}")
