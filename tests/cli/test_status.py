"""What `aims-server status` shows."""

import contextlib
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from aims_server.cli import main
from aims_server.cli.figures import NoAnswer, checked_url, read_figures, service_url
from aims_server.cli.status import as_text, describe
from aims_server.config.settings import Settings
from aims_server.metrics import Metrics, MetricsMemory

from ..counted import LEVELS
from ..waiting import free_port


@pytest.fixture(name="readings")
def _readings():
    """Two readings of two workers, ten requests and two failures apart."""
    memory = MetricsMemory(workers=2)
    workers = [Metrics(worker=number, memory=memory) for number in range(2)]
    for metrics in workers:
        metrics.sample(**LEVELS)
        metrics.upstream.call_finished("quizzes", "ok", 0.2)
        for outcome in ("HIT", "STALE", "PENDING", "MISS"):
            metrics.lookup("quiz", outcome)
    before = json.loads(workers[0].summary())
    for number in range(10):
        workers[number % 2].request_started()
        status = 504 if number < 2 else 200
        workers[number % 2].request_finished("quiz", "GET", status, 0.02)
    workers[1].upstream.call_finished("quizzes", "upstream_timeout", 4.0)
    workers[1].upstream.call_finished("quizzes", "unauthorized", 0.2)
    workers[1].upstream.breaker_changed("quizzes", "open")
    workers[1].limited("login")
    return before, json.loads(workers[0].summary())


def test_it_tells_rates_platform_workers_and_limits(readings):
    """Each table has what a person looks for first."""
    before, after = readings
    sections = {s.title: s for s in describe(before, after, 2.0)}
    now = {row[0]: row[1] for row in sections["Now"].rows}
    assert now["requests"] == "5.0/s"
    assert now["failing (5xx)"] == "1.0/s"
    assert now["calls under way"] == "4 of 50"
    assert now["found in the cache"] == "75.0%"
    assert now["latency p50 / p99"] == "17.5 ms / 24.9 ms"
    platform = {row[0]: row[1:] for row in sections["Platform"].rows}
    assert platform["quizzes"][:3] == ("4", "1", "1")  # calls, failed, token refused
    assert platform["quizzes"][-1] == "open"
    assert platform["login"][-1] == "closed"
    assert [row[0] for row in sections["Workers"].rows] == ["0", "1"]
    assert ("login", "1") in sections["Refused by a limit"].rows


def test_a_stop_and_a_roll_are_told(readings):
    """It says that the service stops, and which of its workers leave."""
    before, after = readings
    after["state"] = "replacing"
    after["workers"]["0"]["leaving"] = True
    sections = {s.title: s for s in describe(before, after, 2.0)}
    now = {row[0]: row[1] for row in sections["Now"].rows}
    assert now["state"] == "serving; workers that were replaced leave"
    assert [row[-2] for row in sections["Workers"].rows] == ["leaving", "serving"]


def test_no_rate_is_negative(readings):
    """A service that restarted between two readings shows no negative rate."""
    after, before = readings
    sections = {s.title: s for s in describe(before, after, 2.0)}
    now = {row[0]: row[1] for row in sections["Now"].rows}
    assert (now["requests"], now["failing (5xx)"]) == ("0.0/s", "0.0/s")


def test_processor_time_is_that_of_one_process(readings):
    """A worker that was replaced, or began, between two readings has no figure."""
    before, after = readings
    for worker in after["workers"].values():
        worker["cpuSeconds"] += 1
    after["workers"]["1"]["startTime"] += 60
    sections = {s.title: s for s in describe(before, after, 2.0)}
    assert [row[2] for row in sections["Workers"].rows] == ["50%", "-"]
    del before["workers"]["0"]
    sections = {s.title: s for s in describe(before, after, 2.0)}
    assert [row[2] for row in sections["Workers"].rows] == ["-", "-"]


def test_tables_are_aligned(readings):
    """Each row of a table is as wide as its columns."""
    before, after = readings
    text = as_text(describe(before, after, 1.0))
    assert text.startswith("Now\n  figure ")
    assert "  endpoint" in text
    lines = text.split("\n\n")[1].splitlines()[1:]
    ends = {line.rindex(line.split()[-1]) + len(line.split()[-1]) for line in lines}
    assert len(ends) == 1


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:3001"),
        ("0.0.0.0", "http://127.0.0.1:3001"),
        ("::,127.0.0.1", "http://[::1]:3001"),
        ("10.1.2.3", "http://10.1.2.3:3001"),
    ],
)
def test_the_address_is_that_of_the_settings(host, url):
    """The first of HOST, or this machine where that means every address."""
    assert service_url(Settings.from_mapping({"HOST": host})) == url


def test_a_port_that_the_settings_leave_open_is_asked_for():
    """With PORT=0 the command asks for an address."""
    with pytest.raises(NoAnswer, match=r"^PORT=0 .* --url$"):
        service_url(Settings.from_mapping({"PORT": "0"}))


def test_nobody_there_is_one_line():
    """The line has the address; there is no traceback."""
    with pytest.raises(NoAnswer, match=r"http://127\.0\.0\.1:1: Connection refused"):
        read_figures("http://127.0.0.1:1", None)


def test_what_no_host_can_be_called_is_said_in_one_line():
    """It has the form of an address all the same."""
    url = checked_url("http://aims..example")
    with pytest.raises(NoAnswer, match=f"^no figures from {url}: "):
        read_figures(url, None)


@pytest.mark.parametrize("token", ["s3cr3t\r", "s3\ncr3t", "s3cr3t→", "s3 cr3t"])
def test_a_token_that_is_none_is_not_shown(token):
    """With --url a malformed METRICS_TOKEN is refused without being printed."""
    with pytest.raises(NoAnswer) as told:
        read_figures("http://127.0.0.1:1", token)
    assert str(told.value) == "METRICS_TOKEN has a character that no token has"


@pytest.mark.parametrize(
    "url", ["http://[::1", "127.0.0.1:99999", "http://x:many", "x:0", "ftp://x", "/"]
)
def test_what_is_typed_wrongly_is_said_in_one_line(url):
    """A wrong URL is one line, also if Python's own parser raises."""
    with pytest.raises(NoAnswer, match=r"^--url must be http://host:port$"):
        checked_url(url)


@contextlib.contextmanager
def another(status, body=b"", *, times=1, **headers):
    """The address of something else than the service, which answers so many times."""

    class Another(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Another) as server:

        def answer():
            for _ in range(times):
                server.handle_request()

        answering = Thread(target=answer)
        answering.start()
        yield f"http://127.0.0.1:{server.server_port}"
        answering.join()


@pytest.mark.parametrize(
    "body",
    [
        *(b"5", b"null", b"[]", b'"workers"', b'{"workers":{}}', b"[" * 100_000),
        *(b"", b"<!doctype html>", b"up 1\n", b"\xff"),
    ],
)
def test_another_program_is_told_from_the_service(body):
    """Something else may listen there, or another version."""
    with (
        another(200, body) as url,
        pytest.raises(NoAnswer, match=f"^{url} is not aims-server"),
    ):
        read_figures(url, None)


def test_another_version_is_one_line(readings, tmp_path, monkeypatch, capsys):
    """As between the installation of a version and the restart."""
    _, figures = readings
    del figures["logLinesLost"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aims_server.cli.figures._EVERY_SECONDS", 0.0)
    with another(200, json.dumps(figures).encode(), times=2) as url:
        assert main(["status", "--url", url]) == 1
    assert capsys.readouterr() == (
        "",
        f"aims-server: {url} is another version: its figures have no 'logLinesLost'\n",
    )


def test_whoever_asks_a_balancer_is_told_to_ask_the_service():
    """The balancers of conf/ answer /metrics with 404, and the command explains it."""
    with another(404) as url, pytest.raises(NoAnswer, match="404: ask the service"):
        read_figures(url, None)


def test_a_redirect_is_not_followed():
    """METRICS_TOKEN goes to the address that was typed and to no other."""
    with (
        another(302, Location=f"http://127.0.0.1:{free_port()}/") as url,
        pytest.raises(NoAnswer, match=f"^{url} answered 302: it redirects"),
    ):
        read_figures(url, "secret")
