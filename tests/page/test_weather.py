"""The page while the platform is slow or fails, is gone, and while we refuse."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.process


def test_progress_is_seen_while_a_page_is_gathered(visit, demo):
    """It shows how many of how many subjects have come."""
    demo.play("slow")
    visit.log_in(demo.students[0])
    progress = visit.page.locator(".progress")
    progress.wait_for(state="visible")
    assert progress.get_attribute("aria-live") == "off"  # not read out fifteen times
    assert " of 15 subjects" in progress.inner_text()


def test_a_failing_platform_is_said_and_what_was_loaded_stays(inside, demo):
    """A refresh that fails keeps the figures and calls them old."""
    before = inside.page.inner_text("#overall")
    demo.play("failing")
    inside.page.click("#refresh")
    inside.page.wait_for_selector("text=has sent nothing newer yet")
    assert inside.page.inner_text("#overall") == before
    inside.forgive_failed_answers()


def test_a_login_while_the_platform_fails_says_so(visit, demo):
    """The form stays, with a sentence that is no parser's."""
    demo.play("failing")
    visit.log_in(demo.students[0])
    notice = visit.page.locator("#notice")
    notice.wait_for(state="visible")
    assert "platform" in notice.inner_text()
    visit.forgive_failed_answers()


def test_offline_is_said_and_ends_by_itself(inside):
    """Figures stay; once the network is back the pages are asked for again."""
    if not inside.page.evaluate("navigator.onLine"):
        pytest.skip("to the browser a machine with nothing but loopback is offline")
    inside.context.set_offline(True)
    inside.page.click("#refresh")
    inside.page.wait_for_selector("text=You seem to be offline")
    assert inside.page.inner_text("#overall")
    inside.context.set_offline(False)
    inside.page.wait_for_selector("text=You seem to be offline", state="detached")
    inside.forgive_failed_answers()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda route: route.abort(), id="none"),
        pytest.param(
            lambda route: route.fulfill(status=502, json={"code": "upstream_error"}),
            id="refusal",
        ),
    ],
)
def test_without_the_demos_state_its_corner_is_left_out(inside, answer):
    """It is left out, for example, if the network fails while the page loads."""
    inside.page.route("**/demo", answer)
    inside.page.reload()
    inside.settle()
    inside.page.wait_for_selector("aside.demo", state="detached")
    inside.forgive_failed_answers()


@pytest.mark.parametrize("seconds", [600, -86_400], ids=["later", "clock-set-back"])
def test_who_comes_back_to_the_page_sees_no_old_one(inside, seconds):
    """A tab is loaded again that was left for longer than an answer is fresh, or for
    which the age of its answers cannot be told any more.
    """
    opened = inside.page.evaluate("Date.now() / 1000")
    inside.page.clock.set_fixed_time(opened + seconds)
    with inside.page.expect_response("**/api/attendance"):
        inside.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    inside.settle()


REFUSALS = {
    "attendance": (429, "rate_limited", "too many requests in a short time"),
    "all-attendance": (503, "overloaded", "Very many students"),
    # Of these a proxy before the service may tell as well, in its own words.
    "timetable": (503, "upstream_unavailable", "No timetable now."),
    "quiz": (504, "upstream_timeout", "No quiz now."),
}


def refuse(page: Any, name: str, status: int, code: str) -> None:
    """Have a page of the API refused, and 17 seconds asked for."""
    sentence = f"No {name} now."
    body = json.dumps({"error": sentence, "message": sentence, "code": code})
    page.route(
        f"**/api/{name}",
        lambda route: route.fulfill(
            status=status, headers={"Retry-After": "17"}, body=body
        ),
    )


def test_a_refusal_is_said_with_its_wait(inside):
    """What is wrong, and in how many seconds the page asks again, counted down."""
    inside.page.clock.set_fixed_time(0)
    for name, (status, code, _) in REFUSALS.items():
        refuse(inside.page, name, status, code)
    inside.refresh()
    said = inside.page.locator(".status .problem").all_inner_texts()
    for (_, _, words), sentence in zip(REFUSALS.values(), said, strict=True):
        assert words in sentence
        assert "Trying again in 17 s" in sentence
    inside.page.clock.set_fixed_time(5)
    inside.page.wait_for_selector("text=Trying again in 12 s")
    inside.forgive_failed_answers()


class Refusing:
    """Refuses a page as often as it is asked for, until it ``gives_in``."""

    def __init__(self, page: Any) -> None:
        self.asked = 0
        self.gives_in = False
        page.route("**/api/attendance", self._answer)

    def _answer(self, route: Any) -> None:
        self.asked += 1
        if self.gives_in:
            route.continue_()
        else:
            route.fulfill(status=429, headers={"Retry-After": "500"}, body="{}")


@pytest.fixture
def refusing(inside) -> Iterator[Refusing]:
    """A service that has refused the refresh of one page for eight minutes."""
    inside.page.clock.install()
    inside.page.reload()
    inside.settle()
    refused = Refusing(inside.page)
    inside.refresh()
    inside.page.wait_for_selector("text=Trying again in 8 min")
    yield refused
    inside.forgive_failed_answers()


@pytest.fixture
def refused_file(inside) -> Iterator[None]:
    """The calendar file was refused at the time 0, for 17 seconds."""
    inside.show("timetable")
    inside.page.clock.set_fixed_time(0)
    refuse(inside.page, "timetable", 429, "rate_limited")
    inside.page.click("#save-calendar")
    inside.page.wait_for_selector(".problem")
    yield
    inside.forgive_failed_answers()


@pytest.mark.usefixtures("refused_file")
def test_a_refused_file_is_left_to_the_student(inside):
    """Nobody is told that the page tries again to save it."""
    assert "Please try again in 17 s" in inside.page.inner_text(".problem")


@pytest.mark.usefixtures("refused_file")
def test_a_wait_that_is_over_is_said_no_more(inside):
    """Its message goes in the second in which it ends."""
    inside.page.clock.set_fixed_time(1)
    inside.page.wait_for_selector("text=Please try again in 16 s")
    inside.page.clock.set_fixed_time(17)
    inside.page.wait_for_selector("text=Please try again in", state="detached")


@pytest.mark.usefixtures("refused_file")
def test_a_file_that_is_saved_after_all_ends_its_problem(inside):
    """The problem shown goes without a refresh."""
    inside.page.unroute("**/api/timetable")
    with inside.page.expect_download():
        inside.page.click("#save-calendar")
    inside.page.wait_for_selector(".problem", state="detached")


def test_a_refused_file_makes_its_page_wait_too(inside):
    """The page waits, even if it was due again sooner."""
    incomplete = {"month": None, "days": [], "incomplete": ["Maths"]}
    asked = []

    def answer(route):
        asked.append(route.request.headers["accept"])
        if asked[-1] == "text/calendar":
            route.fulfill(status=429, headers={"Retry-After": "500"}, body="{}")
        else:
            route.fulfill(json=incomplete)

    inside.page.clock.install()
    inside.page.route("**/api/timetable", answer)
    inside.page.reload()
    inside.settle()
    inside.show("timetable")
    inside.page.click("#save-calendar")
    inside.page.wait_for_selector("text=Please try again in 8 min")
    inside.page.clock.fast_forward(20_000)
    inside.page.wait_for_selector("#refresh:not([aria-disabled])")
    assert asked == ["application/json", "text/calendar"]
    inside.forgive_failed_answers()


@pytest.mark.parametrize(
    ("max_age", "asked_within_five_seconds"), [(0, True), (15, False)]
)
def test_a_page_that_is_still_gathered_is_soon_asked_for_again(
    inside, max_age, asked_within_five_seconds
):
    """The next request joins the gathering; one that is kept is the same for 15 s. What
    is as incomplete then is not asked for every three seconds.
    """
    incomplete = {"subjects": {}, "courseCodeMap": {}, "incomplete": ["Maths"]}
    headers = {"Cache-Control": f"private, max-age={max_age}"}
    asked = []

    def answer(route):
        asked.append(route.request.url)
        route.fulfill(json=incomplete, headers=headers)

    inside.page.clock.install()
    inside.page.route("**/api/all-attendance", answer)
    inside.page.reload()
    inside.settle()
    for seconds, number in [
        (5, 1 + asked_within_five_seconds),
        (5, 1 + asked_within_five_seconds),
        (15, 2 + asked_within_five_seconds),
    ]:
        inside.page.clock.fast_forward(1000 * seconds)
        inside.page.wait_for_selector("#refresh:not([aria-disabled])")
        assert len(asked) == number


NUDGES = {
    "online": "window.dispatchEvent(new Event('online'))",
    "visible": "document.dispatchEvent(new Event('visibilitychange'))",
}


@pytest.mark.parametrize("nudge", NUDGES)
def test_no_event_cuts_a_told_wait_short(inside, refusing, nudge):
    """Other pages are asked for when the network or the student is back."""
    inside.page.route("**/api/quiz", lambda route: route.abort())
    inside.page.click("#retry")
    inside.page.wait_for_selector("text=You seem to be offline")
    before = refusing.asked
    inside.page.clock.set_fixed_time(inside.page.evaluate("Date.now() / 1000 + 499"))
    with inside.page.expect_request("**/api/quiz"):
        inside.page.evaluate(NUDGES[nudge])
    inside.page.wait_for_selector("#refresh:not([aria-disabled])")
    assert refusing.asked == before


@pytest.mark.parametrize("nudge", NUDGES)
def test_what_a_return_finds_under_way_is_asked_for_once_more(inside, nudge):
    """Its connection may be gone with the network of before, or while a phone slept."""
    asked = []

    def answer(route):
        asked.append(route)
        if len(asked) > 1:
            route.continue_()

    inside.page.route("**/api/quiz", answer)
    with inside.page.expect_request("**/api/quiz"):
        inside.page.click("#refresh")
    inside.page.evaluate(NUDGES[nudge])
    with inside.page.expect_response("**/api/quiz"):
        asked[0].abort()
    inside.settle()
    assert inside.page.locator(".problem").count() == 0
    inside.forgive_failed_answers()


@pytest.mark.parametrize("nudge", NUDGES)
def test_a_refresh_that_failed_is_made_as_one_later(inside, nudge):
    """By who comes back, too; the service's copy would be called an answer to it."""
    inside.page.route("**/api/quiz", lambda route: route.abort())
    inside.page.click("#refresh")
    inside.page.wait_for_selector("text=You seem to be offline")
    inside.page.unroute("**/api/quiz")
    with inside.page.expect_request("**/api/quiz") as asked:
        inside.page.evaluate(NUDGES[nudge])
    assert asked.value.all_headers()["cache-control"] == "no-cache"
    inside.settle()
    inside.forgive_failed_answers()


def test_who_asks_again_is_not_asked_for_once_more(inside, refusing):
    """The wait that was under way ends with the student's own request."""
    refusing.gives_in = True
    inside.page.click("#retry")
    inside.page.wait_for_selector(".problem", state="detached")
    inside.page.clock.fast_forward(501_000)
    inside.page.wait_for_selector("#refresh:not([aria-disabled])")
    assert refusing.asked == 2


@pytest.mark.parametrize("seconds", ["3600", "99999999999"])
def test_a_long_wait_is_left_to_the_student(inside, seconds):
    """Nobody asks sooner than the service said, or waits for an hour unseen."""
    asked = []

    def refuse(route):
        asked.append(route)
        route.fulfill(status=429, headers={"Retry-After": seconds}, body="{}")

    inside.page.route("**/api/attendance", refuse)
    inside.page.click("#refresh")
    inside.page.wait_for_selector("text=Please try again in")
    inside.page.click("#retry")
    inside.page.wait_for_selector("text=Please try again in")
    assert len(asked) <= 2
    inside.forgive_failed_answers()


@pytest.mark.parametrize("body", ["<html>Hello</html>", "null"])
def test_what_is_no_answer_of_the_service_is_said(inside, body):
    """The login page of a campus network, which answers 200 to everything."""
    inside.page.route("**/api/*", lambda route: route.fulfill(body=body))
    inside.page.click("#refresh")
    problem = inside.page.locator(".status .problem")
    problem.wait_for(state="visible")
    assert "Something else answered" in problem.inner_text()
    assert "What you see was loaded earlier." in problem.inner_text()


def test_what_is_no_calendar_is_not_saved(inside):
    """A student who imports such a login page would not know what was wrong."""
    saved = []
    inside.page.on("download", lambda file: saved.append(file.suggested_filename))
    inside.show("timetable")
    inside.page.route(
        "**/api/timetable",
        lambda route: route.fulfill(
            content_type="text/html", body="<html>Hello</html>"
        ),
    )
    inside.page.click("#save-calendar")
    inside.page.wait_for_selector("text=Something else answered")
    assert saved == []


def test_what_any_page_lacks_is_named(visits, token):
    """A course of which a cell of the timetable could not be read, for one."""
    counts = {"totalPresent": 0, "totalClasses": 0, "overallPercentage": "0%"}
    answers: dict[str, Any] = {
        "attendance": counts | {"incomplete": ["Art"]},
        "all-attendance": {"subjects": {}, "incomplete": ["Maths"]},
        "timetable": {"month": None, "days": [], "incomplete": ["Physics", "Art"]},
        "quiz": {},
    }
    said = visits(token=token, answers=answers).page.inner_text(".missing")
    named = said.partition("everything for ")[2].partition(".")[0]
    assert sorted(named.split(", ")) == ["Art", "Maths", "Physics"]


def test_the_corner_shows_how_the_service_answered(inside):
    """Asked again, the pages come from memory, and the corner says so."""
    inside.page.reload()
    inside.page.wait_for_selector("#last-answers >> text=HIT", state="attached")


def test_the_corner_makes_the_platform_slow_and_calm(inside):
    """The chosen scenario is marked, and the platform has it."""
    inside.page.click("#demo")
    inside.page.click("#scenario-slow")
    inside.page.wait_for_selector("#scenario-slow[aria-pressed=true]")
    assert inside.demo.get("demo")["scenario"] == "slow"
    inside.page.click("#scenario-calm")
    inside.page.wait_for_selector("#scenario-calm[aria-pressed=true]")
