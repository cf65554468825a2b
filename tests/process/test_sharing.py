"""Several workers, one gathering: through kills, refusals and reloads."""

import os
import signal
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from ..waiting import PATIENCE_SECONDS, until
from .students import Students, everybody, gatherings

pytestmark = pytest.mark.process


@pytest.mark.parametrize("workers", [1, 4])
def test_a_student_is_gathered_once(platform, serve, workers):
    """Whatever the number of workers, the platform is asked as by one."""
    crowd = Students(platform, serve(workers), 4)
    platform.turn(reset=True)
    answers = everybody(crowd)
    assert 4 in crowd.gathering_calls("course_files")
    assert 4 in crowd.gathering_calls("quizzes")
    assert gatherings(answers) == 4 + 4


def test_the_death_of_a_worker_costs_one_more_gathering(platform, serve):
    """Killed while it gathers, a worker leaves pages that another gathers at once; and
    what it had gathered before is still there.
    """
    service = serve(2)
    crowd = Students(platform, service, 2)
    everybody(Students(platform, service, 1))
    platform.turn(reset=True)
    platform.turn(hold="quizzes")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(crowd.ask, "quiz", crowd.tokens[1]) for _ in range(8)]
        until(lambda: crowd.calls().get("quizzes"))
        before = service.workers()
        # One of the two gathers; the other waits for it, with some of the askers.
        os.kill(before[0], signal.SIGKILL)
        platform.turn(release="quizzes")
        answers = [answered(ask) for ask in asked]
    service.may_fail = True
    # All of them may have been at the one that died.
    answers += [crowd.ask("quiz", crowd.tokens[1]) for _ in range(2)]
    assert {status for status, _ in filter(None, answers)} == {200}
    assert crowd.gathering_calls("quizzes").start <= 2


def test_every_worker_tells_the_steps_of_a_gathering(platform, serve):
    """Whichever gathers: each of eight streams hears of all fifteen subjects."""
    service = serve(4)
    crowd = Students(platform, service, 1)
    platform.turn(hold="cards")
    begun = Barrier(8 + 1)

    def events(_):
        request = urllib.request.Request(
            service.url + "/api/all-attendance",
            headers={
                "Authorization": f"Bearer {crowd.tokens[0]}",
                "Accept": "text/event-stream",
            },
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as stream:
            first = stream.readline()
            begun.wait(PATIENCE_SECONDS)
            lines = (first + stream.read()).decode().splitlines()
        return [line[7:] for line in lines if line.startswith("event: ")]

    with ThreadPoolExecutor(8) as pool:
        streams = [pool.submit(events, number) for number in range(8)]
        begun.wait(PATIENCE_SECONDS)  # else the last might find the page kept
        platform.turn(release="cards")
        told = [stream.result() for stream in streams]
    assert told == [["started", *["subject"] * 15, "page"]] * 8


def answered(asked):
    """The answer, or nothing where the connection died with its worker."""
    try:
        return asked.result()
    except OSError:
        return None


def test_pages_outlive_a_reload(platform, serve):
    """After SIGHUP the new workers serve what the old ones had gathered."""
    service = serve(2)
    crowd = Students(platform, service, 3)
    everybody(crowd, times=1)
    platform.turn(reset=True)
    before = service.workers()
    service.signal(signal.SIGHUP)
    service.wait_for_workers(2, but=before)
    assert {outcome for _, outcome in everybody(crowd)} == {"HIT"}
    assert not sum(crowd.calls().values())


def test_a_refused_token_is_refused_by_every_worker(platform, serve):
    """Once one worker has seen a token refused, none serves what is kept for it; a
    bystander's pages stay.
    """
    service = serve(4)
    crowd = Students(platform, service, 2)
    everybody(crowd)
    refused, bystander = crowd.tokens
    platform.turn(revoke=refused)
    assert crowd.ask("timetable", refused)[0] == 401  # nobody has asked for it yet
    for _ in range(24):
        assert crowd.ask("quiz", refused)[0] == 401
        assert crowd.ask("quiz", bystander) == (200, "HIT")


def test_nothing_is_shared_when_that_is_wished(platform, serve):
    """With CACHE_SHARED_MB=0 each worker gathers for itself."""
    crowd = Students(platform, serve(2, CACHE_SHARED_MB="0"), 1)
    platform.turn(reset=True)

    def both_have_gathered():
        everybody(crowd)
        return 2 in crowd.gathering_calls("quizzes")

    until(both_have_gathered)
