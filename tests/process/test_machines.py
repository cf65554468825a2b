"""Two services that share a store: one gathering, refusals that cross, and no error
whatever happens to the store.
"""

import signal
import time
from functools import partial

import pytest

from ..store.server import StoreServer
from ..waiting import until
from .students import Students, everybody, gatherings

pytestmark = pytest.mark.process

SECRET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@pytest.fixture(name="store")
def _store(tmp_path):
    server = StoreServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture(name="two")
def _two(platform, serve, store):
    """Two services of two workers each, which share already."""
    services = [serve(2, **sharing(store), LOG_LEVEL="debug") for _ in range(2)]
    until(lambda: shares(Students(platform, services[0], 1), services))
    return services


def sharing(store):
    """Settings of a service with this store, which a busy machine makes slow."""
    return {
        "STORE_URL": store.url,
        "STORE_SECRET": SECRET,
        "STORE_TIMEOUT_MS": "2000",
        "LOGIN_LIMIT_PER_MINUTE": "1000",
    }


def all_use_store(service):
    """Whether both workers do."""
    return service.figures("aims_store_state") == [0, 0]


def shares(crowd, two):
    """Whether one gathering of each page was enough for both."""
    return gatherings(everybody(crowd, 4, two)) == 2 * len(crowd.tokens)


def test_a_student_is_gathered_once_for_both(platform, two):
    """Asked at two machines at once, the platform is asked as by one."""
    crowd = Students(platform, two[0], 4)
    platform.turn(reset=True)
    answers = everybody(crowd, 4, two)
    assert 4 in crowd.gathering_calls("course_files", two[1])
    assert 4 in crowd.gathering_calls("quizzes", two[1])
    assert gatherings(answers) == 4 + 4


def test_a_refusal_crosses(platform, two):
    """A token that one machine has seen refused is soon refused by the other; a
    bystander's pages stay.
    """
    crowd = Students(platform, two[0], 2)
    everybody(crowd, 4, two)
    refused, bystander = crowd.tokens
    platform.turn(revoke=refused)
    assert crowd.ask("timetable", refused)[0] == 401
    until(lambda: crowd.ask("quiz", refused, two[1])[0] == 401)
    for _ in range(8):
        assert crowd.ask("attendance", refused, two[1])[0] == 401
        assert crowd.ask("quiz", bystander, two[1]) == (200, "HIT")


def test_a_refusal_while_the_store_is_down_crosses_when_it_is_back(
    platform, two, store
):
    """What the store was not told while it was down it is told before it is used."""
    crowd = Students(platform, two[0], 2)
    everybody(crowd, 4, two)
    refused = crowd.tokens[0]
    store.freeze()
    platform.turn(revoke=refused)
    assert crowd.ask("timetable", refused)[0] == 401
    assert crowd.ask("quiz", refused, two[1]) == (200, "HIT")  # it cannot know
    store.thaw()
    until(lambda: crowd.ask("quiz", refused, two[1])[0] == 401)
    assert crowd.ask("attendance", refused)[0] == 401


@pytest.mark.parametrize("what", ["killed", "frozen", "flushed", "full"])
def test_a_failing_store_costs_nobody_an_answer(platform, two, store, what):
    """Killed, frozen, emptied or full: each machine goes on alone, and they share again
    when it is well.
    """
    crowd = Students(platform, two[0], 4)
    everybody(Students(platform, two[0], 1), 4, two)
    platform.turn(reset=True)
    if what == "killed":
        store.kill()
    elif what == "frozen":
        store.freeze()
    elif what == "flushed":
        store.ask("FLUSHALL")
    else:
        store.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        store.ask("CONFIG", "SET", "maxmemory", "1")
    everybody(crowd, 4, two)
    assert min(crowd.gathering_calls("quizzes", two[1])) <= 2 * 4
    if what == "killed":
        store.start()
    elif what == "frozen":
        store.thaw()
    elif what == "full":
        store.ask("CONFIG", "SET", "maxmemory", "0")
    for service in two:
        until(partial(all_use_store, service))
    until(lambda: store.ask("PING") == b"+PONG\r\n")
    until(lambda: shares(Students(platform, two[0], 2), two))


def test_logins_are_limited_over_both(platform, serve, store):
    """Two logins of one name in a minute, whatever machine they come to."""
    options = sharing(store) | {"LOGIN_LIMIT_PER_MINUTE": "2"}  # one more after 30 s
    two = [serve(1, **options) for _ in range(2)]
    crowd = Students(platform, two[0], 0)
    statuses = [
        crowd.try_login("nobody", "wrong", two[number % 2]) for number in range(4)
    ]
    assert statuses == [401] * 2 + [429] * 2


def test_nothing_of_a_student_is_in_the_store_or_the_logs(platform, two, store):
    """A dump of all keys and values, what is said to it, and the logs at DEBUG hold
    no token, name, number or count.
    """
    crowd = Students(platform, two[0], 6)
    watch = store.monitor()
    everybody(crowd, 4, two)
    platform.turn(revoke=crowd.tokens[0])
    assert crowd.ask("timetable", crowd.tokens[0])[0] == 401
    time.sleep(0.5)  # for limits to be added up
    seen = [watch(), store.dump()]
    logs = "".join(service.log for service in two)
    words = set()
    for token in crowd.tokens[1:]:
        words |= {token, token.rpartition(".")[2]}
    for number in range(6):
        words |= set(crowd.secrets_of(number))
    assert len(seen[1]) > 5000
    for word in words:
        for text in seen:
            assert word.encode() not in text
        assert word not in logs


def test_a_service_stops_and_reloads_with_a_store(platform, two):
    """SIGHUP keeps the pages, SIGTERM ends with 0."""
    crowd = Students(platform, two[0], 2)
    everybody(crowd, times=1)
    before = two[0].workers()
    two[0].signal(signal.SIGHUP)
    two[0].wait_for_workers(2, but=before)
    assert {outcome for _, outcome in everybody(crowd)} == {"HIT"}
    two[0].signal(signal.SIGTERM)
    assert two[0].wait() == 0
