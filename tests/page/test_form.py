"""How the page is made: access for everybody, every width, and what it loads."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from .visiting import VIEWS, pages_of

pytestmark = pytest.mark.process


FOLDER = Path(__file__).parents[2] / "aims_server" / "web_page"


# One day of the timetable is like another.
MORE_OF_THE_LIKE = {"exclude": ["ol.cards > li:nth-child(n + 4):not(.today)"]}


def scan(visit, *rules: str) -> list[str]:
    """What axe-core finds wrong, by these of its rules or all, a line each."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = Axe().run(visit.page, MORE_OF_THE_LIKE, options)
    return [
        f"{rule['id']}: {node['html'][:120]}"
        for rule in found.response["violations"]
        for node in rule["nodes"]
    ]


def scan_in_both_themes(visit) -> list[str]:
    """The like; in another theme nothing but the colours is different."""
    found = scan(visit)
    visit.page.emulate_media(color_scheme="dark")
    found += scan(visit, "color-contrast")
    visit.page.emulate_media(color_scheme="light")
    return found


def test_axe_finds_nothing_in_any_view(visit, demo):
    """WCAG's testable rules hold in both themes, the login form included."""
    found = {"login": scan_in_both_themes(visit)}
    visit.log_in(demo.students[1])
    visit.settle()
    for view in VIEWS:
        visit.show(view)
        if view == "subjects":
            visit.page.locator("summary").first.click()
        found[view] = scan_in_both_themes(visit)
    assert found == {view: [] for view in found}


@pytest.mark.parametrize(
    ("width", "text"),
    [(320, "100%"), (320, "200%"), (768, "100%"), (1280, "200%"), (3840, "100%")],
)
def test_nothing_is_wider_than_the_window(visits, token, width, text):
    """No view scrolls sideways, from 320 px to 4k, also with twice the size of text."""
    visit = visits(token=token, size=(width, 900))
    visit.page.evaluate("size => document.documentElement.style.fontSize = size", text)
    for view in VIEWS:
        visit.show(view)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, (
            view
        )


def test_a_long_name_widens_nothing(visits, token):
    """Subjects, teachers, marks and quizzes of 120 letters without a gap, at 320 px."""
    long = "W" * 120
    answers = pages_of([long], status=long, faculty=long)
    answers["attendance"]["branch"] = long
    answers["all-attendance"]["incomplete"] = [long]
    visit = visits(token=token, answers=answers, size=(320, 900))
    for view in VIEWS:
        visit.show(view)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 320, view


def test_every_tab_and_name_has_room_on_a_small_phone(visits, token):
    """At 320 px no tab is out of sight, and no word of a subject is broken."""
    visit = visits(token=token, size=(320, 700))
    tabs = [tab.bounding_box() for tab in visit.page.locator("nav a").all()]
    assert all(tab["x"] >= 0 and tab["x"] + tab["width"] <= 320 for tab in tabs)
    assert len({tab["y"] for tab in tabs}) == 1
    visit.show("timetable")
    names = visit.page.locator(".lessons .name")
    widths = "all => all.map((name) => name.getBoundingClientRect().width)"
    assert min(names.evaluate_all(widths)) > 200


SMALL = """() => [...document.querySelectorAll("a, button, summary, input")]
  .filter((control) => control.checkVisibility())
  .map((control) => [control.outerHTML, control.getBoundingClientRect().height])
  .filter(([, height]) => height < 44)"""


def test_every_control_is_44_pixels_high(inside):
    """Days, sliders and the first stop of the keyboard too."""
    for view in VIEWS:
        inside.show(view)
        if view == "subjects":
            inside.page.locator("summary").first.click()
        inside.page.focus(".skip")
        assert inside.page.evaluate(SMALL) == [], view


def test_a_problem_without_a_wait_leaves_no_gap_for_it(inside):
    """Its button stands below its sentence, at the same edge."""
    inside.page.route("**/api/quiz", lambda route: route.abort())
    inside.page.click("#refresh")
    inside.page.wait_for_selector("text=You seem to be offline")
    edges = """() => {
      const button = document.getElementById("retry");
      const padding = parseFloat(getComputedStyle(button.parentElement).paddingLeft);
      return [button, button.parentElement].map((e) => e.getBoundingClientRect().left)
        .reduce((a, b) => a - b - padding);
    }"""
    assert inside.page.evaluate(edges) == 0
    inside.forgive_failed_answers()


def test_a_tag_is_a_word_of_its_own(visits, token):
    """A screen reader reads it apart from the text before it; so does a copy."""
    answers = pages_of(["Maths"])
    visit = visits(token=token, answers=answers, now="2025-09-01T03:00:00Z")
    lesson = visit.page.locator(".lessons .name").first
    assert lesson.text_content() == "Maths Next class"
    visit.show("timetable")
    assert visit.page.locator("h3").text_content() == "Monday, 1 September Today"


def test_a_slider_is_called_by_what_is_seen(inside):
    """Who speaks to the device says no other words (WCAG 2.5.3)."""
    inside.show("subjects")
    inside.page.locator("summary").first.click()
    for label in inside.page.locator("[open] label").all():
        seen = label.inner_text().splitlines()[0]
        assert inside.page.get_by_role("slider", name=seen).count() == 1


def test_a_view_is_read_out_by_its_name(inside):
    """Each has the focus when it comes, also by the browser's way back."""
    focused = "[document.activeElement.tagName, document.activeElement.ariaLabel]"
    inside.show("subjects")
    assert inside.page.evaluate(focused) == ["MAIN", "Subjects"]
    inside.page.evaluate("window.before = document.activeElement")
    inside.page.go_back()
    inside.page.wait_for_selector("#tab-today[aria-current=page]")
    assert inside.page.evaluate(focused) == ["MAIN", "Today"]
    assert inside.page.evaluate("window.before !== document.activeElement")


def test_an_address_of_no_view_leads_to_the_first(inside):
    """An old bookmark, or a name that every object in JavaScript has."""
    for name in ("nowhere", "constructor"):
        inside.show("subjects")
        inside.page.evaluate("name => { location.hash = name; }", name)
        inside.page.wait_for_selector("#tab-today[aria-current=page]")


def test_paper_has_the_figures_alone(inside):
    """Buttons and tabs are not printed."""
    inside.page.emulate_media(media="print")
    assert inside.page.locator("#overall").is_visible()
    assert not inside.page.locator("nav").is_visible()
    assert not inside.page.locator("#refresh").is_visible()


KINDS = ["present", "leave", "absent", "other"]
FILL = "selector => getComputedStyle(document.querySelector(selector)).fill"
SWATCH = """(selector, property = "backgroundColor") =>
  getComputedStyle(document.querySelector(selector), "::before")[property]"""
LEGIBILITY = """kind => {
  const style = (selector) => getComputedStyle(document.querySelector(selector));
  const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (rgb) => rgb.map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0.05);
  const share = Number(style(".tile").opacity);
  const ground = channels(style(".day").backgroundColor);
  const fill = channels(style(`.tile .${kind}`).fill);
  const drawn = light(fill.map((c, n) => share * c + (1 - share) * ground[n]));
  const ink = light(channels(style(".day span").color));
  return Math.max(drawn, ink) / Math.min(drawn, ink);
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_calendar_is_told_by_its_colours(visits, token, theme):
    """The legend has the colours of the days, whose numbers can be read on each; also
    where colours are forced. Behind a text axe sees no drawing.
    """
    visit = visits(token=token, color_scheme=theme)
    visit.show("calendar")
    page = visit.page
    for forced in ("none", "active"):
        page.emulate_media(forced_colors=forced)
        fills = [page.evaluate(f"({FILL})('.tile .{kind}')") for kind in KINDS]
        swatches = [page.evaluate(f"({SWATCH})('.legend .{kind}')") for kind in KINDS]
        assert swatches == fills
        assert min(page.evaluate(LEGIBILITY, kind) for kind in KINDS) >= 4.5


def test_the_view_is_told_where_colours_are_forced(visits, token):
    """Only the current tab has a line below it where transparent lines are drawn."""
    page = visits(token=token, forced_colors="active").page
    lines = page.evaluate(
        """() => [...document.querySelectorAll("nav a")]
          .map((tab) => getComputedStyle(tab).borderBottomColor)"""
    )
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert [line == ground for line in lines] == [False, True, True, True, True]


def test_the_legend_is_printed(inside):
    """Browsers leave grounds out, and print drawings."""
    inside.show("calendar")
    inside.page.emulate_media(media="print")
    printed = f"({SWATCH})('.legend .present', 'printColorAdjust')"
    assert inside.page.evaluate(printed) == "exact"


def test_the_keyboard_is_enough(visit, demo):
    """Log in, go to the calendar, and open another day, without a pointer."""
    page = visit.page
    page.focus("#username")
    page.keyboard.type(demo.students[1]["username"])
    page.keyboard.press("Tab")
    page.keyboard.type(demo.students[1]["password"])
    page.keyboard.press("Enter")
    page.wait_for_selector("#overall")
    visit.settle()
    assert page.evaluate("document.activeElement.id") == "main"
    while page.evaluate("document.activeElement.id") != "tab-calendar":
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".day")
    while not page.evaluate("document.activeElement.id").startswith("day-"):
        page.keyboard.press("Tab")
    first = page.evaluate("document.activeElement.id")
    page.keyboard.press("ArrowRight")
    second = page.evaluate("document.activeElement.id")
    assert second.startswith("day-")
    assert second != first
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#{second}[aria-pressed=true]")
    assert page.evaluate("document.activeElement.id") == second


@pytest.mark.parametrize(("width", "height"), [(390, 844), (320, 256)])
def test_what_has_the_focus_is_seen(visits, token, width, height):
    """The tabs never hide it (WCAG 2.4.11), also at 400 % of 1280 by 1024 px."""
    visit = visits(token=token, size=(width, height))
    visit.show("calendar")
    page = visit.page
    page.locator("aside.demo").evaluate("corner => corner.remove()")
    hidden = page.evaluate(
        """() => [...document.querySelectorAll(".day")].reverse().filter((day) => {
          day.focus();
          const focused = day.getBoundingClientRect();
          const tabs = document.querySelector("nav").getBoundingClientRect();
          return focused.bottom <= tabs.bottom || focused.top >= innerHeight;
        }).map(({id}) => id)"""
    )
    assert hidden == []


def test_keys_with_a_modifier_are_the_browsers(inside):
    """The calendar takes no arrow key with a modifier: some go back a page."""
    page = inside.page
    inside.show("calendar")
    page.locator(".day").last.focus()
    day = page.evaluate("document.activeElement.id")
    taken = page.evaluate(
        """() => ["altKey", "ctrlKey", "metaKey", "shiftKey"].filter((modifier) => {
          const options = {key: "ArrowLeft", bubbles: true, cancelable: true};
          const event = new KeyboardEvent("keydown", {...options, [modifier]: true});
          return !document.activeElement.dispatchEvent(event);
        })"""
    )
    assert (taken, page.evaluate("document.activeElement.id")) == ([], day)


def test_the_first_stop_leads_past_the_tabs(inside):
    """A link over everything else goes to the content."""
    page = inside.page
    page.reload()
    page.wait_for_selector("#overall")
    inside.settle()
    while page.evaluate("document.activeElement.className") != "skip":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_first_visit_takes_at_most_60_kilobytes(visits, demo):
    """Page, log-in and all views' answers, as they come over the wire; not the events,
    for which a page is asked that takes more than a second.
    """
    visit = visits({})
    visit.log_in(demo.students[1])
    visit.settle()
    sizes = [
        response.request.sizes()
        for response in visit.responses
        if response.headers.get("content-type") != "text/event-stream"
    ]
    assert (
        sum(s["responseBodySize"] + s["responseHeadersSize"] for s in sizes) <= 60_000
    )


def test_no_layout_shifts(visits, demo):
    """What has been drawn stays where it is while the rest comes."""
    visit = visits()
    visit.log_in(demo.students[0])
    visit.page.wait_for_selector("#overall")
    visit.page.reload()
    visit.page.wait_for_selector("#overall")
    visit.settle()
    shift = visit.page.evaluate(
        """() => new Promise((done) => {
            let sum = 0;
            new PerformanceObserver((list) => {
                for (const entry of list.getEntries()) sum += entry.value;
            }).observe({type: "layout-shift", buffered: true});
            setTimeout(() => done(sum), 200);
        })"""
    )
    assert shift < 0.1  # "good" in Chromium's own terms


def test_files_other_than_the_document_may_be_kept_for_ever(visit):
    """Their address holds the digest of all of them; the document is checked again."""
    kept = {
        r.url: r.headers["cache-control"] for r in visit.responses if "page/" in r.url
    }
    assert kept
    assert set(kept.values()) == {"public, max-age=31536000, immutable"}
    assert visit.responses[0].headers["cache-control"] == "no-cache"


def test_every_module_is_loaded_ahead():
    """The document names each module once, so that none waits for its importer."""
    text = (FOLDER / "index.html").read_text("utf-8")
    named = set(re.findall(r'href="page/([\w/]+\.js)"', text)) | {"main.js", "demo.js"}
    there = {str(p.relative_to(FOLDER)) for p in FOLDER.rglob("*.js")}
    assert named == there


def test_a_script_that_is_lost_is_said(visit):
    """One of them does not come over a bad network: no blank page is left."""
    visit.page.route("**/words.js", lambda route: route.abort())
    visit.page.reload()
    notice = visit.page.locator("#app > p")
    visit.page.evaluate("document.getAnimations().forEach((one) => one.finish())")
    assert "check your connection" in notice.inner_text()
    visit.forgive_failed_answers()


def test_without_javascript_the_page_says_what_it_needs(visits):
    """It shows one sentence, and not the one about a lost connection."""
    page = visits({"java_script_enabled": False}).page
    assert page.locator("noscript p").is_visible()
    assert not page.locator(".starting").is_visible()


def test_the_content_security_policy_has_no_exception(visit):
    """No inline script or style, and nobody is asked but this service."""
    policy = visit.responses[0].headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
