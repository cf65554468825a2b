"""The instruments of the benchmarks: the platform's stand-in, the load, the tables."""

import http.server
import json
import threading

import pytest
from docutils import nodes
from docutils.core import publish_doctree

pytest.importorskip("aiohttp", reason="the extra `bench` is not installed")

from aims_server.demo.backend import Backend, CardQuery
from bench.load import Rate, Request, ask, percentile, read_wrk, try_asking
from bench.profile import own_time
from bench.report import (
    MARKER,
    Row,
    Section,
    at_least,
    at_most,
    table,
    write_results,
    written,
)
from bench.standin import API, Answers, college

WRK = """Running 1s test @ http://127.0.0.1:3001/api/quiz
  1 threads and 100 connections
  Latency Distribution
     50%   11.81ms
     99%    1.20s
  8316 requests in 1.01s, 51.40MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 20
Requests/sec:   8250.12
Transfer/sec:     50.99MB
"""


class Refuser(http.server.BaseHTTPRequestHandler):
    """Answers 200 to /good and 503 to everything else."""

    def do_GET(self):
        """Answer, with an empty body."""
        self.send_response(200 if self.path == "/good" else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(name="address")
def _address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuser)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(name="answers", scope="module")
def _answers():
    return Answers(college(subjects=3))


def test_a_benchmark_of_refusals_is_none(address):
    """A request that fails ends the benchmark instead of making it fast."""
    with pytest.raises(RuntimeError, match="503"):
        ask(address, [Request("/good"), Request("/bad")])


def test_failures_are_counted(address):
    """Each failure is counted by its status, if some are allowed."""
    requests = [Request("/good")] * 3 + [Request("/bad")] * 2
    answers = try_asking(address, requests, at_once=2)
    assert len(answers.seconds) == 5
    assert answers.failures == {"503": 2}


def test_wrk_is_read_with_its_errors():
    """Lost connections and refusals count as failures, times are seconds."""
    assert read_wrk(WRK) == Rate(8250.12, 1.2, 1 + 2 + 3 + 4 + 20)


def test_what_is_no_report_of_wrk_is_refused():
    """A load that measured nothing is not taken for a figure."""
    with pytest.raises(ValueError, match="no report"):
        read_wrk("unable to connect")


def test_percentile():
    """The 99th of a hundred values is the last."""
    assert percentile([float(n) for n in range(100)], 0.99) == 99.0


def _body(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    return body


def test_the_stand_in_answers_as_the_simulated_platform_does(answers):
    """The first student of a section gets the very bytes of the simulated platform."""
    student = answers.college.student(7)
    token = answers.college.token(student)
    backend, bearer = Backend(answers.college), f"Bearer {token}"
    course = answers.college.courses(student)[1]
    files = f"{API}/custom/getCFMappedWithStudentID?embed_attendance_summary=1"
    cards = f"{API}/cards?equalto___fk_student={student.id}"
    cards += f"&equalto___cf_id={course.cf_id}"
    assert (
        _body(answers.answer(files, bearer, b""))
        == backend.course_files(token, embed=True).body
    )
    assert (
        _body(answers.answer(cards, bearer, b""))
        == backend.cards(
            token, CardQuery(cf_id=str(course.cf_id), sort_by="datetime1")
        ).body
    )
    assert (
        _body(answers.answer(f"{API}/custom/myEvaluatedQuizzes", bearer, b""))
        == backend.quizzes(token).body
    )


def test_the_stand_in_gives_each_student_their_own_id_and_token(answers):
    """Another student of the section is told of themselves."""
    student = answers.college.student(7 + 24 * 50)
    token = answers.college.token(student)
    files = f"{API}/custom/getCFMappedWithStudentID?embed_attendance_summary=1"
    rows = json.loads(_body(answers.answer(files, f"Bearer {token}", b"")))
    *courses, _ = rows["response"]["data"]
    assert {row["student_id"] for row in courses} == {student.id}
    quizzes = f"{API}/custom/myEvaluatedQuizzes"
    assert token in _body(answers.answer(quizzes, f"Bearer {token}", b"")).decode()


def test_the_table_has_a_line_for_each_figure():
    """Columns are as wide as their widest cell."""
    lines = table(
        [Row("start", "5 ms"), Row("kept quiz", "9/s", "3/s", 3.0, at_least(2, 3.0))]
    ).splitlines()
    assert lines[1].split() == ["what", "ours", "beside", "ratio", "goal"]
    assert lines[3] == "start      5 ms"
    assert lines[4].endswith("3.00   at least 2: met")


def test_a_missed_goal_is_told_before_the_figures():
    """What has a goal stands once more at the top, met or not."""
    rows = [Row("a", "8"), Row("b", "7"), Row("", "9", goal=at_most(5, 9))]
    goals, _, _ = written([Section("start", "How long.", rows)]).partition("How long.")
    (told,) = (line for line in goals.splitlines() if line.endswith("MISSED"))
    assert told.split() == ["b", "9", "at", "most", "5:", "MISSED"]


def test_each_row_is_a_row_of_the_table():
    """A row without a name is one more of the thing named above it."""
    rows = [Row("a", "9", "x 8"), Row("", "9", "y 7")]
    document = publish_doctree(written([Section("start", "How long.", rows)]))
    (body,) = document.findall(nodes.tbody)
    assert [row.astext().split() for row in body.children] == [
        ["a", "9", "x", "8"],
        ["a", "9", "y", "7"],
    ]


def figures(name, ours):
    """A section of one row."""
    return Section(name, "How long.", [Row("a", ours)])


def test_a_run_replaces_the_figures_and_keeps_the_words(tmp_path):
    """What is written by hand above the marker stays."""
    path = tmp_path / "RESULTS.rst"
    path.write_text(f"By hand.\n\n{MARKER}\n\nold figures\n")
    write_results(path, figures("start", "5 ms"), ["start"])
    text = path.read_text()
    assert text.startswith("By hand.")
    assert "old figures" not in text
    assert "5 ms" in text


def test_a_run_of_one_part_keeps_the_figures_of_the_others(tmp_path):
    """Only its own are replaced, and the order is that of the benchmarks."""
    path = tmp_path / "RESULTS.rst"
    path.write_text(f"By hand.\n\n{MARKER}\n")
    for name, ours in (("calls", "1 ms"), ("slow:tail", "2 ms"), ("calls", "3 ms")):
        write_results(path, figures(name, ours), ["slow:tail", "calls"])
    text = path.read_text()
    assert "1 ms" not in text
    assert text.index("2 ms") < text.index("calls\n-----\n") < text.index("3 ms")


def test_the_goals_of_all_parts_stand_together(tmp_path):
    """Whichever part was run last: met or missed, with what was found."""
    path = tmp_path / "RESULTS.rst"
    path.write_text(f"By hand.\n\n{MARKER}\n")
    order = ["start", "calls"]
    row = Row("a start", "9 ms", "x 5 ms", 1.8, at_most(5, 9, " ms"))
    write_results(path, Section("start", "How long.", [row]), order)
    row = Row("a call", "1 ms", goal=at_most(2, 1))
    write_results(path, Section("calls", "How many.", [row]), order)
    write_results(path, figures("calls:few", "7 ms"), [*order, "calls:few"])
    goals = path.read_text().partition("Goals\n-----\n\n")[2].partition("\n\n")[0]
    assert [" ".join(line.split()) for line in goals.splitlines()[3:-1]] == [
        "a start 9 ms x 5 ms 1.80 at most 5 ms: MISSED",
        "a call 1 ms at most 2: met",
    ]


def test_the_figures_of_a_benchmark_that_went_are_dropped(tmp_path):
    """What no command can measure again is not shown."""
    path = tmp_path / "RESULTS.rst"
    path.write_text(f"By hand.\n\n{MARKER}\n")
    write_results(path, figures("old", "1 ms"), ["old"])
    write_results(path, figures("start", "5 ms"), ["start"])
    assert "1 ms" not in path.read_text()


def test_own_time_is_that_of_the_innermost_function():
    """Stacks that end in one function are added up, whatever its line."""
    stacks = "run (a.py:1);f (b.py:2) 3\nrun (a.py:1);f (b.py:9) 3\nrun (a.py:1) 2"
    first, second = own_time(stacks).splitlines()
    assert first.split() == ["75.0", "%", "f", "(b.py)"]
    assert second.split() == ["25.0", "%", "run", "(a.py)"]


def test_own_time_is_not_that_of_idle_threads():
    """One that waits for work is in every sample; one that works counts."""
    pool = "run (threading.py:982);_worker (concurrent/futures/thread.py:81)"
    stacks = f"{pool} 90\n{pool};f (b.py:2) 10"
    assert own_time(stacks).split() == ["100.0", "%", "f", "(b.py)"]
