"""A running `aims-server demo`, a browser, and a visit of its page."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from aims_server.demo.college import College

from ..children import environment
from ..waiting import PATIENCE_SECONDS, free_port

_FAILED = "Failed to load resource"
VIEWS = ["today", "subjects", "calendar", "quizzes", "timetable"]
# Debian's; without the rest of a browser a visit takes a third of the time.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
_FLAGS = [
    "--no-sandbox",  # CI is root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
METRICS_TOKEN = "metrics-token-of-a-test"
# No refresh is too soon, no page becomes old however long the tests take, and no limit
# is reached.
_SETTINGS = {
    "CACHE_REFRESH_FLOOR_SECONDS": "0",
    "CACHE_TTL_SECONDS": "3600",
    "RATE_LIMIT_PER_MINUTE": "100000",
    "LOGIN_LIMIT_PER_MINUTE": "100000",
    "DRAIN_DELAY_SECONDS": "0",
    "LOG_LEVEL": "warning",
    "STATUS_PAGE": "true",
    "METRICS_TOKEN": METRICS_TOKEN,
}


class Demo:
    """The running demo, its students, and the controls of its platform."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.other_origin = url.replace("127.0.0.1", "localhost").removesuffix("/")
        # The same students and records as the process makes from the same seed.
        today = (datetime.now(UTC) + timedelta(hours=5, minutes=30)).date()
        self.college = College(3000, 15, 12, None, today, 1)
        self.students: list[dict[str, str]] = self.get("demo")["students"]

    def get(self, path: str) -> Any:
        """The JSON of a path."""
        with urlopen(self.url + path, timeout=PATIENCE_SECONDS) as answer:
            return json.load(answer)

    def counts(self, student: dict[str, str]) -> list[tuple[str, int, int]]:
        """Name, present and total of each course, in the platform's order."""
        found = self.college.by_username(student["username"])
        assert found is not None
        rows = []
        for course in self.college.courses(found):
            marks = self.college.marks(found, course)
            name = " ".join(course.subject.name.split())
            rows.append((name, marks.count("Present"), len(marks)))
        return rows

    def overall(self, student: dict[str, str]) -> tuple[int, int]:
        """Present and total of all courses."""
        rows = self.counts(student)
        return sum(row[1] for row in rows), sum(row[2] for row in rows)

    def token(self, student: dict[str, str]) -> str:
        """A token from a login."""
        login = {name: student[name] for name in ("username", "password")}
        body = json.dumps(login).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(self.url + "api/login", body, headers)
        with urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            token: str = json.load(answer)["token"]
        return token

    def play(self, scenario: str) -> None:
        """Have the platform play a scenario."""
        body = json.dumps({"scenario": scenario}).encode()
        asked = Request(self.url + "demo", data=body)
        urlopen(asked, timeout=PATIENCE_SECONDS).close()


@contextmanager
def running_demo(directory: Path) -> Iterator[Demo]:
    """`aims-server demo` in a directory without a `.env`."""
    port = str(free_port())
    address = {"PORT": port, "CORS_ORIGIN": f"http://localhost:{port}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "aims_server", "demo"],
        env=environment() | _SETTINGS | address,
        cwd=directory,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            lines = map(re.compile(r"Open (http\S+)").match, process.stdout)
            yield Demo(next(match[1] for match in lines if match))
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


@contextmanager
def running_browser() -> Iterator[Any]:
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        yield browser
        browser.close()


class Profile:
    """A browser profile for one visit after another, each in a tab of its own. The
    first tab stays, and with it the process that shows the next: to start one for each
    visit costs as much as all that a test does then.
    """

    def __init__(self, browser: Any, demo: Demo) -> None:
        self.context = browser.new_context()
        self._first = self.context.new_page()
        self._first.goto(f"{demo.url}health")

    def tidy(self) -> bool:
        """Leave nothing of the visits; false where a clock was set, which stays so."""
        for page in self.context.pages:
            if page != self._first:
                page.close()
        self.context.set_offline(False)
        self._first.evaluate("localStorage.clear()")
        # Playwright marks its own so, and gives it the text of the browser's.
        return not self._first.evaluate("Boolean(Date.isFake)")


class Visit:
    """One visit of the page in a tab of its own, and what went wrong in it.

    With a ``token`` it is a tab that has logged in before, every page loaded.
    ``answers`` of the API, by name, stand in the place of the demo's; ``now`` is the
    time of the device; ``media`` are Playwright's of `emulate_media`. ``complaints``
    are messages of the console, script errors, violations of the content security
    policy, and requests to any host but the demo's.
    """

    def __init__(
        self,
        context: Any,
        demo: Demo,
        *,
        token: str | None = None,
        answers: dict[str, Any] | None = None,
        now: float | str | None = None,
        size: tuple[int, int] = (390, 844),
        **media: Any,
    ) -> None:
        self.demo = demo
        self.context = context
        self.page = context.new_page()
        self.page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
        self.page.emulate_media(**media)
        self.page.set_default_timeout(PATIENCE_SECONDS * 1000)
        self.complaints: list[str] = []
        self._forgives = False
        self.responses: list[Any] = []
        self.page.on("console", lambda message: self._complain(message.text))
        self.page.on("pageerror", lambda error: self._complain(str(error)))
        self.page.on("request", self._look_at)
        self.page.on("response", lambda response: self.responses.append(response))
        if token is not None:
            # At the first load alone, after which the tab has a name.
            self.page.add_init_script(
                "if (!name) { name = 'entered';"
                f" sessionStorage.setItem('token', {json.dumps(token)}); }}"
            )
        if now is not None:
            self.page.clock.set_fixed_time(now)
        for name, answer in (answers or {}).items():
            self.serve(name, answer)
        self.page.goto(demo.url)
        if token is not None:
            self.settle()

    def _look_at(self, request: Any) -> None:
        if not request.url.startswith((self.demo.url, "blob:", "data:")):
            self._complain(f"asked for {request.url}")

    def forgive_failed_answers(self) -> None:
        """Pass over what Chromium itself says of an answer that is no success, also of
        one that is still to come.
        """
        self._forgives = True
        self.complaints = [c for c in self.complaints if not c.startswith(_FAILED)]

    def _complain(self, text: str) -> None:
        if not (self._forgives and text.startswith(_FAILED)):
            self.complaints.append(text)

    def serve(self, name: str, answer: Any) -> None:
        """Have a page of the API answered with this in the demo's place."""
        self.page.route(f"**/api/{name}", lambda route: route.fulfill(json=answer))

    def log_in(self, student: dict[str, str], password: str | None = None) -> None:
        """Fill in the form and send it."""
        self.page.fill("#username", student["username"])
        self.page.fill("#password", password or student["password"])
        self.page.click("#sign-in")

    def refresh(self) -> None:
        """Have every page loaded anew, wherever the focus is."""
        with self.page.expect_response("**/api/all-attendance"):
            self.page.evaluate("document.getElementById('refresh').click()")
        self.page.wait_for_selector("#refresh:not([aria-disabled])")

    def settle(self) -> None:
        """Wait until every page that was asked for is there, or has failed."""
        self.page.wait_for_selector("#overall")
        self.page.wait_for_selector("#refresh:not([aria-disabled])")

    def show(self, view: str) -> None:
        """Go to a view by its tab."""
        self.page.click(f"#tab-{view}")
        self.page.wait_for_selector(f"#tab-{view}[aria-current=page]")


def pages_of(
    names: list[str], *, status: str = "Present", faculty: str = ""
) -> dict[str, Any]:
    """The answers for a student of these subjects, one class and one quiz in each."""
    day = "2025-09-01"
    mark = {"formatted": "", "time": "08:50", "status": status, "faculty": faculty}
    daily = [{"date": day, "present": 1, "absent": 0, "leave": 0, "details": [mark]}]
    slots = [
        {"start": "08:50", "end": "09:40", "course": n, "faculty": faculty}
        for n in names
    ]
    counts = {"present": 1, "total": 2, "percent": "50%", "canMiss": 0, "mustAttend": 2}
    record = {"cfId": 1, "totalPresent": 1, "daily": daily} | counts
    return {
        "attendance": {
            "dailyAttendance": [{"course": n, "courseCode": n} | counts for n in names],
            "totalPresent": len(names),
            "totalClasses": 2 * len(names),
            "overallPercentage": "50%",
            "target": 75,
        },
        "all-attendance": {"subjects": dict.fromkeys(names, record)},
        "timetable": {"month": day[:7], "days": [{"date": day, "slots": slots}]},
        "quiz": {
            "response": {
                "data": [
                    {"quiz_uc": f"Q of {n}", "master_course_code": n} for n in names
                ]
            }
        },
    }
