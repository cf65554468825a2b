"""docs/reliability.rst P9: nobody is ever given another student's answer."""

import asyncio
import json
import random
import re

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, HTTPError, RequestHandler

from aims_server.app import Machine, build
from aims_server.config.settings import Settings
from aims_server.deadline import Deadline
from aims_server.errors import ApiError
from aims_server.logs.access_log import AccessLog
from aims_server.metrics.recorder import Metrics
from aims_server.pages import PAGES

STUDENTS = 500
ANSWERS = 10_000
AT_ONCE = 1000  # each crowd waits for those of it whose calls are made again
SUBJECTS = 2


class Records(RequestHandler):
    """A platform that knows students by the middle of their tokens, and often fails."""

    def prepare(self):
        """Fail one call in twenty, in one of three ways."""
        draw = self.settings["random"].random()
        if draw < 0.03:
            raise HTTPError(random.choice([500, 503, 404]))
        if draw < 0.05:
            self.finish("<html>")
        token = self.request.headers["Authorization"].removeprefix("Bearer ")
        self.student = 1000 + int(token.strip("e").strip("x"))
        if self.student in self.settings["refused"]:
            raise HTTPError(401)

    def get(self, endpoint):
        """Answer with nothing but the student's own number."""
        student = self.student
        rows = {
            "custom/getCFMappedWithStudentID": [
                {
                    "id": student * 10 + number,
                    "student_id": student,
                    "cdata": {
                        "course_code": f"C{number}",
                        "course_name": f"Of {student}, {number}",
                    },
                    "attendance_summary": {"Present": student, "Total": student},
                }
                for number in range(SUBJECTS)
            ],
            "cards": [
                {
                    "state": "Present",
                    "start_time": "2025-09-01 08:50:00",
                    "date_formatted": f"of {student}",
                }
            ],
            "custom/myEvaluatedQuizzes": [{"student_name": f"of {student}"}],
        }[endpoint]
        self.write({"msg": "", "response": {"data": rows}})


@pytest.fixture(name="refused")
def _refused():
    return set()


@pytest.fixture(name="base")
def _base(io_loop, refused):
    app = Application(
        [(r"/(.*)", Records)],
        random=random.Random(7),
        refused=refused,
        log_function=lambda _: None,
    )
    server = HTTPServer(app)
    socket, port = bind_unused_port()
    server.add_socket(socket)
    yield f"http://127.0.0.1:{port}"
    server.stop()
    io_loop.run_sync(server.close_all_connections)


def tokens(number: int) -> str:
    """Half of the tokens differ only in their end, the others only in their front."""
    same = "e" * 40
    return f"{same}x{number}x" if number % 2 else f"x{number}x{same}"


def owners_of(body: bytes) -> set[int]:
    """Every student named anywhere in an answer."""
    text = body.decode()
    named = re.findall(r"[Oo]f (\d+)", text)
    page = json.loads(body)
    if "studentId" in page:
        named.append(page["studentId"])
    return {int(name) for name in named}


@pytest.mark.gen_test(timeout=600)
async def test_every_answer_carries_its_askers_own_data(base, refused):
    """10 000 answers to 500 students, through faults, cancellations and drops."""
    settings = Settings.from_mapping(
        {"EXTERNAL_API_BASE": base, "CACHE_MAX_MB": "5", "CACHE_TTL_SECONDS": "30"}
    )
    worker = build(
        settings,
        Machine(settings),
        metrics=Metrics(),
        access_log=AccessLog(),
    )
    service, sessions = worker.service, worker.sessions
    draw = random.Random(11)
    pages = [page for page in PAGES if not page.parameters]
    answered = failed = cancelled = 0

    async def ask_one() -> None:
        nonlocal answered, failed
        number = draw.randrange(STUDENTS)
        caller = sessions.caller(tokens(number), "192.0.2.1")
        try:
            served = await service.page(
                draw.choice(pages), caller, Deadline(5), fresh=draw.random() < 0.01
            )
        except ApiError:
            failed += 1
            return
        assert owners_of(served.entry.value.plain.body) == {1000 + number}
        answered += 1

    async def ask_and_maybe_leave() -> None:
        nonlocal cancelled
        task = asyncio.ensure_future(ask_one())
        if draw.random() < 0.02:
            await asyncio.sleep(0)
            cancelled += task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    while answered < ANSWERS:
        refused.clear()
        refused.update(1000 + draw.randrange(STUDENTS) for _ in range(10))
        await asyncio.gather(*(ask_and_maybe_leave() for _ in range(AT_ONCE)))
    await worker.close()
    assert failed > 20
    assert cancelled > 10
