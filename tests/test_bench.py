"""The instruments of the benchmarks: the load's reading, the table, the file."""

import http.server
import threading

import pytest

pytest.importorskip("aiohttp", reason="the extra `bench` is not installed")

from bench.load import ask, percentile
from bench.report import MARKER, Row, table, write_results


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


def test_failures_are_counted(address):
    """A benchmark of refusals shows as one."""
    answers = ask(address, [("/good", "t")] * 3 + [("/bad", "t")] * 2, at_once=2)
    assert len(answers.seconds) == 5
    assert answers.failed == 2


def test_percentile():
    """The 99th of a hundred values is the last."""
    assert percentile([float(n) for n in range(100)], 0.99) == 99.0


def test_the_table_has_a_line_for_each_figure():
    """Columns are as wide as their widest cell."""
    lines = table(
        [Row("start", "5 ms"), Row("kept quiz", "9/s", "3/s", 3.0, "2.0")]
    ).splitlines()
    assert lines[1].split() == ["what", "ours", "beside", "ratio", "goal"]
    assert lines[3] == "start      5 ms"
    assert lines[4].split() == ["kept", "quiz", "9/s", "3/s", "3.00", "2.0"]


def test_a_run_replaces_the_figures_and_keeps_the_words(tmp_path):
    """What is written by hand above the marker stays."""
    path = tmp_path / "RESULTS.rst"
    path.write_text(f"By hand.\n\n{MARKER}\n\nold figures\n")
    write_results(path, [Row("start", "5 ms")])
    text = path.read_text()
    assert text.startswith("By hand.")
    assert "old figures" not in text
    assert "5 ms" in text
