"""HTTP of the simulated platform: read a call, wait, answer or go wrong."""

import asyncio
import gzip
import ipaddress
from collections.abc import Callable
from typing import Any, Final

import msgspec
from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import HTTPError, RequestHandler

from .backend import CardQuery, Reply
from .faults import Endpoint, Fault
from .simulation import Simulation
from .socket_faults import break_answer, stray_after, write_unasked
from .wrong_answers import EMPTY, wrong_answer

__all__ = ["ROUTES"]

JSON = "application/json"
_BODILESS: Final = (204, 304)  # Tornado refuses to send these with a body


class PlatformHandler(RequestHandler):
    """One call: counted while it lasts, delayed, and answered well or wrongly."""

    def initialize(self, simulation: Simulation) -> None:
        """Take the platform that the call is for."""
        self.simulation = simulation
        self.backend = simulation.backend
        self._endpoint: Endpoint | None = None
        self._gone = False
        self._task: asyncio.Task[Any] | None = None

    def set_default_headers(self) -> None:
        """Say as little as the platform does about what it runs on."""
        self.clear_header("Server")
        self.set_header("Content-Type", JSON)

    def compute_etag(self) -> None:
        """Have no entity tags: no client ever saw one."""

    def on_connection_close(self) -> None:
        """Stop whatever the call still waits for: its caller has gone."""
        self._gone = True
        self._leave()  # at once, so that its place is free for the caller's next try
        if self._task is not None:
            self._task.cancel()

    async def serve(self, endpoint: Endpoint, answer: Callable[[], Reply]) -> None:
        """Count, hold and delay the call, then answer it or do what a fault says."""
        self._task = asyncio.current_task()
        self._endpoint = endpoint
        simulation = self.simulation
        simulation.last[endpoint] = self.request
        simulation.counters.enter(endpoint)
        try:
            if self._stream.closed():  # Tornado tells only of what closes from now on
                return
            await simulation.passed(endpoint)
            async with simulation.answering(endpoint):
                delay = simulation.faults.delay(endpoint)
                if delay:
                    await asyncio.sleep(delay)
            fault = simulation.faults.next(endpoint, self.request.uri or "")
            reply = answer()
            await self._deliver(reply, fault)
        except asyncio.CancelledError:
            if not self._gone:
                raise
        except StreamClosedError:
            pass  # the caller has had enough of a fault
        finally:
            self._task = None
            self._leave()

    def _leave(self) -> None:
        if self._endpoint is not None:
            self.simulation.counters.leave(self._endpoint)
            self._endpoint = None

    async def _deliver(self, reply: Reply, fault: Fault | None) -> None:
        stray = None if fault is None else stray_after(reply, fault)
        if fault is not None and stray is None:
            wrong = wrong_answer(reply, fault, self.simulation.elsewhere)
            if wrong is None:
                stream = self.detach()
                if stream.closed():  # detached, it no longer tells of that
                    return
                stream.set_close_callback(self.on_connection_close)
                with self.simulation.loose(stream):
                    await break_answer(stream, reply, fault)
                return
            reply = wrong
        self.send(reply)
        if fault is not None and stray is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(fault.interval, write_unasked, self._stream, stray)

    def send(self, reply: Reply) -> None:
        """Answer as a sound platform would."""
        self.set_status(reply.status)
        for name, value in reply.headers:
            self.set_header(name, value)
        body = b"" if reply.status in _BODILESS else reply.body
        accepted = self.request.headers.get("Accept-Encoding", "")
        if self.backend.switches.gzip and "gzip" in accepted and body:
            self.set_header("Content-Encoding", "gzip")
            body = gzip.compress(body, 1)
        self.finish(body or None)

    @property
    def _stream(self) -> IOStream:
        connection = self.request.connection
        assert isinstance(connection, HTTP1Connection)
        return connection.stream

    @property
    def bearer(self) -> str:
        """The token of the Authorization header, "" if there is none."""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def posted(self) -> dict[str, Any]:
        """Return the fields of the body in any of the three encodings; {} if none."""
        kind = self.request.headers.get("Content-Type", "")
        if not kind.startswith(JSON):
            arguments = self.request.body_arguments
            return {k: v[-1].decode("utf-8", "replace") for k, v in arguments.items()}
        try:
            return msgspec.json.decode(self.request.body, type=dict[str, Any])
        except msgspec.DecodeError:
            return {}


class Authenticate(PlatformHandler):
    """POST /admin/authenticate (docs/platform.rst 2.1)."""

    async def post(self) -> None:
        """Log a student in."""
        fields = self.posted()
        username, password = str(fields.get("username")), str(fields.get("password"))
        origin = self.request.headers.get("Origin", "")
        await self.serve(
            "authenticate", lambda: self.backend.log_in(username, password, origin)
        )


class CourseFiles(PlatformHandler):
    """GET /custom/getCFMappedWithStudentID (docs/platform.rst 2.2)."""

    async def get(self) -> None:
        """Return the token's courses."""
        embed = self.get_query_argument("embed_attendance_summary", "") == "1"
        await self.serve(
            "course_files", lambda: self.backend.course_files(self.bearer, embed=embed)
        )


class Cards(PlatformHandler):
    """GET /cards (docs/platform.rst 2.3)."""

    async def get(self) -> None:
        """Return attendance records; the token may stand in the URL."""

        def asked(name: str) -> str:
            return self.get_query_argument(name, "", strip=False)

        if asked("token"):
            self.simulation.counters.query_tokens += 1
        token = self.bearer or asked("token")
        query = CardQuery(
            fk_student=asked("equalto___fk_student"),
            cf_id=asked("equalto___cf_id"),
            sort_by=asked("sort_by"),
            page=asked("page"),
        )
        await self.serve("cards", lambda: self.backend.cards(token, query))


class Quizzes(PlatformHandler):
    """GET /custom/myEvaluatedQuizzes (docs/platform.rst 2.4)."""

    async def get(self) -> None:
        """Return the token's evaluated quizzes."""
        await self.serve("quizzes", lambda: self.backend.quizzes(self.bearer))


class Schedule(PlatformHandler):
    """GET /custom/getMyScheduleStudent (docs/platform.rst 2.5)."""

    async def get(self) -> None:
        """Return the month's timetable."""
        await self.serve("schedule", lambda: self.backend.schedule(self.bearer))


class Elsewhere(PlatformHandler):
    """Where redirects lead: a client that comes here has followed one."""

    async def get(self) -> None:
        """Count the visit."""
        self.simulation.counters.calls["elsewhere"] += 1
        self.send(Reply(200, EMPTY))

    post = get


class Control(PlatformHandler):
    """Knobs and counters at run time, for this machine only."""

    def prepare(self) -> None:
        """Refuse clients that are not on loopback."""
        if not ipaddress.ip_address(self.request.remote_ip or "").is_loopback:
            raise HTTPError(403)

    async def get(self) -> None:
        """Return counters and knobs."""
        self.send(Reply(200, msgspec.json.encode(self.simulation.as_dict())))

    async def put(self) -> None:
        """Set knobs (see Simulation.apply) and return the new state."""
        # JSON whatever it calls itself, so that a plain `curl -X PUT -d` will do.
        try:
            self.simulation.apply(msgspec.json.decode(self.request.body))
        except (ValueError, TypeError) as exc:
            self.send(Reply(400, msgspec.json.encode({"msg": str(exc)})))
        else:
            await self.get()

    post = put


ROUTES: tuple[tuple[str, type[PlatformHandler]], ...] = (
    ("/api/v1/admin/authenticate", Authenticate),
    ("/api/v1/custom/getCFMappedWithStudentID", CourseFiles),
    ("/api/v1/cards", Cards),
    ("/api/v1/custom/myEvaluatedQuizzes", Quizzes),
    ("/api/v1/custom/getMyScheduleStudent", Schedule),
    ("/api/v1/elsewhere", Elsewhere),
    ("/_control", Control),
)
