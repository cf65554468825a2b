"""Several workers, one gathering: through kills, refusals and reloads."""

import json
import os
import signal
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from aims_server.demo.college import College

pytestmark = pytest.mark.process

PAGES = ("attendance", "all-attendance", "quiz")


class Crowd:
    """Students of the platform, logged in at a service."""

    def __init__(self, platform, service, students):
        self.platform = platform
        self.service = service
        college = College(students=200)  # the platform's
        self.tokens = [self.log_in(college.student(n)) for n in range(students)]

    def log_in(self, student):
        """The token of one student."""
        who = {"username": student.username, "password": student.password}
        request = urllib.request.Request(
            self.service.url + "/api/login",
            json.dumps(who).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)["token"]

    def ask(self, page, token, service=None):
        """Status and X-Cache of one page on a connection of its own."""
        request = urllib.request.Request(
            f"{(service or self.service).url}/api/{page}",
            headers={"Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
                return answer.status, answer.headers["X-Cache"]
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, None

    def calls(self):
        """Calls that the platform has had, by endpoint."""
        return self.platform.counters()["calls"]


@pytest.fixture(name="serve")
def _serve(start, platform):
    """Start a service whose answers are kept and whose limits bother nobody."""

    def serve(workers, **variables):
        service = start(
            **{
                "EXTERNAL_API_BASE": platform.url,
                "WORKERS": str(workers),
                "PREFETCH_ON_LOGIN": "false",
                "RATE_LIMIT_PER_MINUTE": "1000000",
                "RATE_LIMIT_PER_ADDRESS_PER_MINUTE": "1000000",
                "DRAIN_DELAY_SECONDS": "0.2",
                **variables,
            }
        )
        return service.wait_until_serving()

    return serve


def everybody(crowd, times=6):
    """Ask for all pages of all, several times at once; every answer must be one."""
    asked = [(p, t) for t in crowd.tokens for p in PAGES for _ in range(times)]
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda one: crowd.ask(*one), asked))
    assert {status for status, _ in answers} == {200}
    return [outcome for _, outcome in answers]


@pytest.mark.parametrize("workers", [1, 4])
def test_a_student_is_gathered_once(platform, serve, workers):
    """Whatever the number of workers, the platform is asked as by one."""
    crowd = Crowd(platform, serve(workers), 4)
    platform.turn(reset=True)
    outcomes = everybody(crowd)
    calls = crowd.calls()
    assert calls["course_files"] == 4
    assert calls["quizzes"] == 4
    assert outcomes.count("MISS") == 4 * len(PAGES)


def test_the_death_of_a_worker_costs_one_more_gathering(platform, serve):
    """Killed while it gathers, a worker leaves pages that another gathers at once; and
    what it had gathered before is still there.
    """
    service = serve(2)
    crowd = Crowd(platform, service, 2)
    everybody(Crowd(platform, service, 1))
    platform.turn(reset=True)
    platform.turn(hold="quizzes")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(crowd.ask, "quiz", crowd.tokens[1]) for _ in range(8)]
        until(lambda: crowd.calls().get("quizzes", 0) == 1)
        before = service.workers()
        # One of the two gathers; the other waits for it, with some of the askers.
        os.kill(before[0], signal.SIGKILL)
        platform.turn(release="quizzes")
        ended = [ask_again(ask) for ask in asked]
    service.may_fail = True
    assert crowd.calls()["quizzes"] <= 2
    assert 200 in ended


def ask_again(asked):
    """The status, or nothing where the connection died with its worker."""
    try:
        return asked.result()[0]
    except OSError:
        return None


def until(condition):
    """Wait for what must come."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come")


def test_pages_outlive_a_reload(platform, serve):
    """After SIGHUP the new workers serve what the old ones had gathered."""
    service = serve(2)
    crowd = Crowd(platform, service, 3)
    everybody(crowd, times=1)
    platform.turn(reset=True)
    before = service.workers()
    service.signal(signal.SIGHUP)
    service.wait_for_workers(2, but=before)
    assert set(everybody(crowd)) == {"HIT"}
    assert not sum(crowd.calls().values())


def test_a_refused_token_is_refused_by_every_worker(platform, serve):
    """Once one worker has seen a token refused, none serves what is kept for it; a
    bystander's pages stay.
    """
    service = serve(4)
    crowd = Crowd(platform, service, 2)
    everybody(crowd)
    refused, bystander = crowd.tokens
    platform.turn(revoke=refused)
    assert crowd.ask("timetable", refused)[0] == 401  # nobody has asked for it yet
    for _ in range(24):
        assert crowd.ask("quiz", refused)[0] == 401
        assert crowd.ask("quiz", bystander) == (200, "HIT")


def test_nothing_is_shared_when_that_is_wished(platform, serve):
    """With CACHE_SHARED_MB=0 each worker gathers for itself."""
    crowd = Crowd(platform, serve(2, CACHE_SHARED_MB="0"), 1)
    platform.turn(reset=True)
    for _ in count():
        everybody(crowd)
        if crowd.calls()["quizzes"] == 2:
            return
