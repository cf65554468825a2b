"""Students of the simulated platform at a service, each request on a connection of its
own, so that the workers share them.
"""

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from aims_server.demo.college import College

from ..waiting import PATIENCE_SECONDS

PAGES = ("attendance", "all-attendance", "quiz")


class Students:
    """Students of the platform, logged in at a service."""

    def __init__(self, platform, service, students):
        self.platform = platform
        self.service = service
        self.college = College(students=200)  # the platform's
        self.tokens = [self.log_in(self.college.student(n)) for n in range(students)]

    def log_in(self, student):
        """The token of one student."""
        status, body = self._post_login(
            self.service, student.username, student.password
        )
        assert status == 200
        return json.loads(body)["token"]

    def try_login(self, username, password, service):
        """The status of a login."""
        return self._post_login(service, username, password)[0]

    def secrets_of(self, number):
        """Words that only a student's own page may hold."""
        student = self.college.student(number)
        return str(student.id), student.name, student.username, student.password

    def _post_login(self, service, username, password):
        request = urllib.request.Request(
            service.url + "/api/login",
            json.dumps({"username": username, "password": password}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read()

    def ask(self, page, token, service=None):
        """Status and X-Cache of one page on a connection of its own."""
        request = urllib.request.Request(
            f"{(service or self.service).url}/api/{page}",
            headers={"Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                answer.read()
                return answer.status, answer.headers["X-Cache"]
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, None

    def calls(self):
        """Calls that the platform has had, by endpoint."""
        return self.platform.counters()["calls"]

    def gathering_calls(self, endpoint, *others):
        """How many calls gathered a page, here and at other services: from so many to
        so many, as on a busy machine some are late and have another one beside them.
        """
        series = f'aims_upstream_hedges_total{{end="started",endpoint="{endpoint}"'
        hedges = [sum(each.figures(series)) for each in (self.service, *others)]
        calls = self.calls()[endpoint]
        return range(calls - int(sum(hedges)), calls + 1)


def everybody(crowd, times=6, services=(None,)):
    """The page and outcome of each answer: all pages of all students at these services
    (else at the crowd's own), several times at once. Every answer must be a page.
    """
    asked = [
        (page, token, service)
        for token in crowd.tokens
        for page in PAGES
        for service in services
        for _ in range(times)
    ]
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda one: crowd.ask(*one), asked))
    assert {status for status, _ in answers} == {200}
    return [(page, out) for (page, *_), (_, out) in zip(asked, answers, strict=True)]


def gatherings(answers):
    """How many of these answers say that they were gathered for their asker. A summary
    says what the course files were that it is made of, a MISS or not by which page of a
    student came first; so summaries are left out.
    """
    return [out for page, out in answers if page != "attendance"].count("MISS")
