"""Streams that are full, closed, shared or lead to the journal."""

import contextlib
import json
import os
import socket
import subprocess
import sys

import pytest

from aims_server.logs.access_log import AccessLog
from aims_server.logs.format import LineWriter
from aims_server.logs.handlers import configure_logging, discard_buffered
from aims_server.logs.output import LogOutput

from .lines import FIELDS, fail, log, objects


def tell_twice():
    """An access line and a record, as a request writes them."""
    AccessLog().write(**FIELDS)
    log.error("x")


def test_a_closed_pipe_raises_nothing(capfd):
    """Writing to a closed pipe raises nothing: requests go on."""
    reader, writer = os.pipe()
    with open(writer, "w") as stream:
        configure_logging("info", "json", stream)
        os.close(reader)
        tell_twice()
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_raises_nothing(capfd):
    """/dev/full refuses every byte: requests go on."""
    with open("/dev/full", "w") as stream:
        configure_logging("info", "json", stream)
        tell_twice()
    assert capfd.readouterr() == ("", "")


def test_a_closed_stream_is_never_written_to(tmp_path):
    """Its descriptor may be a client's socket by now."""
    stream = (tmp_path / "log").open("w")
    configure_logging("info", "json", stream)
    number = stream.fileno()
    stream.close()
    with (tmp_path / "other").open("w") as other:
        assert other.fileno() == number
        tell_twice()
    assert (tmp_path / "other").read_bytes() == b""


def test_a_log_may_be_cut_short(tmp_path):
    """After logrotate's copytruncate, new lines begin at the start of the file."""
    path = tmp_path / "log"
    with path.open("w") as stream:
        configure_logging("info", "json", stream)
        log.error("before")
        os.truncate(path, 0)
        log.error("after")
    (line,) = path.read_bytes().splitlines()
    assert json.loads(line)["message"] == "after"


@pytest.fixture(name="pipe")
def _pipe():
    """A reader that may be waited for, and the stream that leads to it."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(writer, "w") as stream:
        yield reader, stream
    os.close(reader)


def everything(reader):
    """What is in a pipe."""
    found = b""
    with contextlib.suppress(BlockingIOError):
        while more := os.read(reader, 1_000_000):
            found += more
    return found


def test_a_full_pipe_costs_lines_and_no_time(pipe):
    """Lines are kept up to a bound, then lost, counted, and told later."""
    reader, stream = pipe
    configure_logging("info", "json", stream)
    access = AccessLog()
    for number in range(6000):
        access.write(**{**FIELDS, "request_id": f"r{number}"})
    lost = access.lost_lines
    assert 3000 < lost < 6000
    found = everything(reader)
    for _ in range(8):
        access.flush()
        found += everything(reader)
    log.error("written again")
    found += everything(reader)
    *kept, told, last = objects(found.split(b"\n")[:-1])
    assert [line["requestId"] for line in kept] == [f"r{n}" for n in range(6000 - lost)]
    assert told["message"].startswith(f"{lost} log lines were lost: the log took none")
    assert last["message"] == "written again"
    assert access.lost_lines == lost


def test_a_full_pipe_leaves_the_streams_own_mode_alone(pipe):
    """The open file may be the shell's too: it must not begin to refuse writes."""
    _, stream = pipe
    configure_logging("info", "json", stream)
    assert os.get_blocking(stream.fileno())


def test_a_socket_is_never_waited_for():
    """As with a pipe, when the journal at the other end hangs."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("w") as stream:
        configure_logging("info", "json", stream)
        access = AccessLog()
        for _ in range(6000):
            access.write(**FIELDS)
        assert access.lost_lines > 0


def test_a_line_longer_than_a_pipe_takes_arrives_whole(pipe):
    """What was not taken follows when there is room."""
    reader, stream = pipe
    lines = LineWriter(LogOutput(stream))
    lines.write({"message": "x" * 200_000})
    found = everything(reader)
    assert not found.endswith(b"\n")
    for _ in range(4):
        lines.flush()
        found += everything(reader)
    assert json.loads(found)["message"] == "x" * 200_000


def test_replaced_outputs_are_closed(tmp_path):
    """No descriptor is left behind."""
    with (tmp_path / "log").open("w") as stream:
        configure_logging("info", "json", stream)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            configure_logging("info", "json", stream)
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_journal_is_told_the_priority_of_each_line(written, form, tmp_path):
    """sd-daemon(3)'s prefix, on each line of a traceback too; nowhere else."""
    path = tmp_path / "journal"
    with path.open("w") as stream:
        status = os.fstat(stream.fileno())
        configure_logging(
            "debug", form, stream, journal_stream=f"{status.st_dev}:{status.st_ino}"
        )
        log.debug("x")
        log.info("x")
        log.warning("x")
        log.critical("x")
        try:
            fail("x")
        except ValueError:
            log.exception("x")
        AccessLog().write(**FIELDS)
    *lines, access = path.read_text().splitlines()
    assert [line[:3] for line in lines[:4]] == ["<7>", "<6>", "<4>", "<2>"]
    assert {line[:3] for line in lines[4:]} == {"<3>"}
    assert len(lines) > 6 or form == "json"
    assert access[:3] == "<6>"
    told = written(form)
    log.error("x")
    assert told()[0][:1] != b"<"


def test_a_file_takes_more_at_once_than_a_pipe(pipe, tmp_path):
    """The kernel locks a file for a write; a pipe keeps 4096 bytes together."""
    with (tmp_path / "log").open("w") as file:
        assert LogOutput(file).piece_bytes == 64 * 1024
    assert LogOutput(pipe[1]).piece_bytes == 4096


def test_each_line_that_is_lost_counts(pipe):
    """Lost lines of one large write are counted one by one."""
    reader, stream = pipe
    lines = LineWriter(LogOutput(stream))
    for _ in range(4):
        lines.add(b"line\n" * 25_000)
    kept = 0
    while more := everything(reader):
        kept += more.count(b"line\n")
        lines.flush()
    assert lines.lost > 0
    assert kept + lines.lost == 100_000


def test_an_output_that_takes_all_loses_none(tmp_path):
    """It takes more lines at once than are kept for an output that is blocked."""
    path = tmp_path / "log"
    with path.open("w") as stream:
        configure_logging("info", "json", stream)
        access = AccessLog(lambda flush: None)
        for _ in range(256):
            access.write(**{**FIELDS, "path": "/" + 511 * "'", "request_id": "a" * 64})
        assert access.lost_lines == 0
    assert path.read_bytes().count(b"\n") == 256


def test_the_last_answers_are_told_at_the_end(tmp_path):
    """A worker ends before the lines of this turn of the loop were written."""
    path = tmp_path / "log"
    with path.open("w") as stream:
        configure_logging("info", "json", stream)
        access = AccessLog(lambda flush: None)
        access.write(**FIELDS)
        access.close()
    assert path.read_bytes().count(b"\n") == 1


def test_what_is_not_taken_at_the_end_is_lost_and_counted(pipe):
    """A worker ends, and nothing writes its lines any more."""
    reader, stream = pipe
    configure_logging("info", "json", stream)
    access = AccessLog()
    for _ in range(1000):
        access.write(**FIELDS)
    assert access.lost_lines == 0
    access.close()
    assert access.lost_lines > 0
    whole = everything(reader).count(b"\n")
    assert whole + access.lost_lines == 1000


def test_a_forked_process_begins_anew(pipe):
    """What its parent could not write is the parent's to write, and what it lost the
    parent's to tell and to count, once.
    """
    reader, stream = pipe
    configure_logging("info", "json", stream)
    access = AccessLog()
    for _ in range(6000):
        access.write(**FIELDS)
    assert access.lost_lines > 0
    discard_buffered()
    assert access.lost_lines == 0
    everything(reader)
    log.error("its own")
    (line,) = objects(everything(reader).split(b"\n")[:-1])
    assert line["message"] == "its own"


@pytest.mark.process
def test_lines_of_several_processes_do_not_mix(tmp_path):
    """Workers share one stream, and each line arrives whole."""
    path = tmp_path / "log"
    program = (
        "import sys, logging; from aims_server.logs import *\n"
        "configure_logging('info', 'json'); access = AccessLog()\n"
        f"fields = {FIELDS!r}\n"
        "for n in range(300):\n"
        "    access.write(**fields, code='x' * 3000); logging.error('y' * 9000)"
    )
    with path.open("ab") as stream:
        running = [
            subprocess.Popen([sys.executable, "-c", program], stderr=stream)
            for _ in range(2)
        ]
        assert [process.wait() for process in running] == [0, 0]
    assert len(objects(path.read_bytes().split(b"\n")[:-1])) == 1200
