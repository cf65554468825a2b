"""Logging in and out in a real browser."""

from typing import Any

import pytest

pytestmark = pytest.mark.process


def test_a_wrong_password_is_said_in_the_platforms_words(visit, demo):
    """The refusal stands beside the form, what was typed stays, nobody is logged in."""
    visit.log_in(demo.students[0], password="wrong")
    notice = visit.page.locator("#notice")
    notice.wait_for(state="visible")
    assert notice.inner_text().strip()
    assert visit.page.input_value("#username") == demo.students[0]["username"]
    assert visit.page.evaluate("sessionStorage.length") == 0
    visit.forgive_failed_answers()


def test_a_screen_reader_hears_that_a_login_is_under_way(visit, demo):
    """A slow platform takes seconds for it, in which it heard nothing."""
    visit.page.route("**/api/login", lambda route: None)
    said = visit.page.locator("main [role=status]")
    assert said.text_content() == ""
    visit.log_in(demo.students[0])
    visit.page.wait_for_selector("#sign-in[aria-disabled]")
    assert said.text_content() == "Logging in \N{HORIZONTAL ELLIPSIS}"


def test_the_token_is_in_the_session_storage_and_nowhere_else(visit, demo):
    """A tab that is closed leaves no login behind."""
    visit.log_in(demo.students[1])
    visit.settle()
    assert visit.page.evaluate("Object.keys(sessionStorage)") == ["token"]
    assert visit.page.evaluate("localStorage.length") == 0
    assert visit.page.evaluate("document.cookie") == ""


def test_a_reload_stays_logged_in(inside):
    """The token of the tab is used again."""
    inside.page.reload()
    inside.page.wait_for_selector("#overall")


def test_logging_out_leaves_nothing_to_see(inside):
    """The form comes back, and the token and the figures are gone."""
    inside.page.click("#sign-out")
    inside.page.wait_for_selector("#sign-in")
    assert inside.page.evaluate("sessionStorage.length") == 0
    assert inside.page.locator(".card").count() == 0


def test_nothing_typed_or_chosen_outlives_the_login(visit, demo):
    """Neither user name nor password stand in the form for who comes next."""
    visit.log_in(demo.students[1])
    visit.settle()
    visit.show("subjects")
    visit.page.locator("summary", has_text="What if").first.click()
    slider = visit.page.locator("input[type=range]").first
    slider.press("End")
    assert slider.input_value() == "30"
    visit.page.click("#sign-out")
    assert visit.page.input_value("#username") == ""
    assert visit.page.input_value("#password") == ""
    visit.log_in(demo.students[1])
    visit.page.locator("summary", has_text="What if").first.click()
    assert slider.input_value() == "0"


def other_tab(visit, token: str) -> Any:
    """A tab of the same browser with this login, every page loaded."""
    tab = visit.context.new_page()
    tab.goto(visit.demo.url)
    tab.evaluate("token => sessionStorage.setItem('token', token)", token)
    tab.reload()
    tab.wait_for_selector("#overall")
    return tab


def test_logging_out_holds_for_copies_of_the_tab(visit, token):
    """A copied tab has the login too, also before the first page has come."""
    visit.page.evaluate("token => sessionStorage.setItem('token', token)", token)
    copy = other_tab(visit, token)
    visit.page.route("**/api/*", lambda route: None)
    visit.page.reload()
    visit.page.click("#sign-out")
    copy.wait_for_selector("#sign-in")
    assert copy.evaluate("sessionStorage.length") == 0


def test_logging_out_leaves_what_is_under_way(inside):
    """A browser lets the next student's request for a page wait for the one before."""
    page = inside.page
    page.route("**/api/*", lambda route: None)
    with page.expect_request("**/all-attendance"):
        page.reload()
    with page.expect_event(
        "requestfailed", lambda request: request.url.endswith("/all-attendance")
    ):
        page.click("#sign-out")


def test_after_logging_out_nothing_more_is_asked(inside):
    """No progress is requested either, since no token is left."""
    page = inside.page
    page.route("**/api/*", lambda route: None)
    page.clock.install()
    page.reload()
    page.click("#sign-out")
    page.wait_for_selector("#sign-in")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.fast_forward(10_000)
    page.evaluate("fetch('health').then((answer) => answer.text())")
    assert [url for url in asked if "/api/" in url] == []


def test_a_copy_that_was_elsewhere_finds_itself_logged_out(inside):
    """It had another page, or was kept for the way back, when the login ended."""
    copy = other_tab(inside, inside.page.evaluate("sessionStorage.getItem('token')"))
    copy.goto("about:blank")
    inside.page.click("#sign-out")
    inside.page.wait_for_selector("#sign-in")
    copy.go_back()
    copy.wait_for_selector("#sign-in")
    assert copy.evaluate("sessionStorage.length") == 0


def test_logging_out_needs_no_room_in_the_browser(inside):
    """A browser that stores nothing for the copies logs this tab out all the same."""
    inside.page.evaluate(
        "void (Storage.prototype.setItem = () => { throw new DOMException('full'); })"
    )
    inside.page.click("#sign-out")
    inside.page.wait_for_selector("#sign-in")
    assert inside.page.evaluate("sessionStorage.length") == 0


FORBIDDEN = "{ get() { throw new DOMException('denied', 'SecurityError'); } }"


def test_a_browser_that_stores_no_login_is_told_so(visit, demo):
    """One that forbids it shows the form, and not that the page has not loaded."""
    visit.page.add_init_script(
        f"Object.defineProperty(window, 'sessionStorage', {FORBIDDEN});"
        f"Object.defineProperty(window, 'localStorage', {FORBIDDEN});"
    )
    visit.page.reload()
    visit.log_in(demo.students[1])
    notice = visit.page.locator("#notice")
    notice.wait_for(state="visible")
    assert "lets the page store nothing" in notice.inner_text()
    assert "again in" not in notice.inner_text()


def test_without_room_for_the_copies_a_login_works(visit, demo):
    """A login works if only `localStorage` is forbidden."""
    visit.page.add_init_script(
        f"Object.defineProperty(window, 'localStorage', {FORBIDDEN});"
    )
    visit.page.reload()
    visit.log_in(demo.students[1])
    visit.settle()
    visit.page.click("#sign-out")
    visit.page.wait_for_selector("#sign-in")


def test_a_browser_of_2021_is_enough(visit, demo):
    """An iPhone 7 has neither `AbortSignal.timeout` nor `AbortSignal.any`."""
    visit.page.add_init_script("delete AbortSignal.timeout; delete AbortSignal.any;")
    visit.page.reload()
    visit.log_in(demo.students[1])
    visit.settle()


def test_a_token_that_is_given_again_logs_in_again(visit, demo, token):
    """A platform may have one token for each student, after a log-out too."""
    visit.page.route("**/api/login", lambda route: route.fulfill(json={"token": token}))
    for _ in range(2):
        visit.log_in(demo.students[1])
        visit.settle()
        visit.page.reload()
        visit.page.wait_for_selector("#overall")
        visit.page.click("#sign-out")
        visit.page.wait_for_selector("#sign-in")


def test_logging_out_leaves_another_login_of_the_student(inside, demo):
    """A tab that has logged in by itself stays as it is, when a copy is logged out."""
    other = other_tab(inside, demo.token(demo.students[1]))
    copy = other_tab(inside, inside.page.evaluate("sessionStorage.getItem('token')"))
    other.evaluate(
        "void (window.told = new Promise((done) => addEventListener('storage', done)))"
    )
    inside.page.click("#sign-out")
    copy.wait_for_selector("#sign-in")
    other.evaluate("window.told")  # it has heard of it, too
    assert other.locator("#overall").is_visible()


LEAVE, RETURN = (
    f"dispatchEvent(new PageTransitionEvent('{event}', {{persisted: true}}))"
    for event in ("pagehide", "pageshow")
)


def test_the_way_back_leads_to_no_login_that_has_ended(inside):
    """A browser may keep the whole page for the way back; it is then loaded again."""
    inside.page.evaluate(LEAVE)
    inside.page.evaluate("sessionStorage.clear()")
    inside.page.evaluate(RETURN)
    inside.page.wait_for_selector("#sign-in")
    assert inside.page.locator(".card").count() == 0


def test_the_way_back_leads_to_the_login_that_there_is(inside, demo):
    """Another student has logged in on another page of the tab meanwhile."""
    inside.page.evaluate(LEAVE)
    token = demo.token(demo.students[0])
    inside.page.evaluate("token => sessionStorage.setItem('token', token)", token)
    with inside.page.expect_navigation():
        inside.page.evaluate(RETURN)
    inside.settle()
    present, total = demo.overall(demo.students[0])
    assert f"{present} of {total} classes" in inside.page.inner_text(".overall")


def test_the_way_back_needs_no_network(inside):
    """What was seen before is seen again: to load it anew would leave nothing."""
    inside.page.wait_for_selector("#demo")  # the corner asks for itself, last of all
    inside.page.evaluate(LEAVE)
    inside.page.evaluate("window.kept = true")
    inside.context.set_offline(True)
    inside.page.evaluate(RETURN)
    inside.page.evaluate("new Promise((done) => setTimeout(done, 300))")
    assert inside.page.evaluate("window.kept")
    assert inside.page.inner_text("#overall")


def test_a_file_that_is_refused_leads_back_to_the_form(inside):
    """A login that has ended is noticed there too, and its problem is no page's."""
    refusal = '{"code": "unauthorized", "error": "Log in again."}'
    inside.show("timetable")
    inside.page.route(
        "**/api/timetable", lambda route: route.fulfill(status=401, body=refusal)
    )
    inside.page.click("#save-calendar")
    notice = inside.page.locator("#notice")
    notice.wait_for(state="visible")
    assert notice.inner_text() == "Log in again."
    inside.forgive_failed_answers()


FOREIGN = "Something else answered in place of the service."
UNKNOWN = "The service cannot answer right now."
REFUSED_LOGINS = [
    (429, '{"code": "rate_limited"}', "Please try again in 17 s."),
    (403, '{"code": "forbidden", "error": "Account blocked."}', "Account blocked."),
    (429, '{"code": "rate_limited", "error": "Locked till 9."}', "Locked till 9."),
    (200, "<html>Log in here</html>", FOREIGN),
    (200, '{"login": "/here"}', FOREIGN),
    (502, "null", UNKNOWN),
    (502, '{"error": {"code": 502}, "code": 502}', UNKNOWN),
]


@pytest.mark.parametrize(("status", "body", "said"), REFUSED_LOGINS)
def test_a_login_that_fails_says_what_to_do(visit, demo, status, body, said):
    """Nobody is told to wait for the page, nor of a parser's trouble."""
    visit.page.clock.set_fixed_time(0)
    visit.page.route(
        "**/api/login",
        lambda route: route.fulfill(
            status=status, headers={"Retry-After": "17"}, body=body
        ),
    )
    visit.log_in(demo.students[1])
    notice = visit.page.locator("#notice")
    notice.wait_for(state="visible")
    assert said in notice.inner_text()
    assert visit.page.evaluate("document.activeElement.id") == "sign-in"
    visit.forgive_failed_answers()


def test_the_next_student_sees_nothing_of_the_one_before(visit, demo):
    """Whoever logs in while the pages of another are still under way gets their own."""
    demo.play("slow")
    visit.log_in(demo.students[2])
    visit.page.wait_for_selector("#sign-out")
    visit.page.click("#sign-out")
    demo.play("calm")
    visit.log_in(demo.students[0])
    visit.page.wait_for_selector("#overall")
    visit.settle()
    present, total = demo.overall(demo.students[0])
    assert f"{present} of {total} classes" in visit.page.inner_text(".overall")


def test_a_token_that_the_platform_refuses_leads_back_to_the_form(inside, demo):
    """It says that the login has ended, and asks for it again."""
    inside.page.evaluate("sessionStorage.setItem('token', 'x.y.z')")
    inside.page.click("#refresh")
    notice = inside.page.locator("#notice")
    notice.wait_for(state="visible")
    assert "log in again" in notice.inner_text().lower()
    inside.forgive_failed_answers()


def test_one_click_in_the_corner_logs_an_invented_student_in(visit, demo):
    """The demo's corner needs no typing."""
    visit.page.click(f"#as-{demo.students[1]['username']}")
    visit.settle()
