"""The platform's answer to each call, as plain values: no sockets, no faults."""

import time
from typing import Any, NamedTuple, TypeAlias

import msgspec
from cachetools import LRUCache

from . import pages, records
from .college import College, Student
from .switches import ASSUMED, Switches

__all__ = ["Backend", "CardQuery", "Reply"]

Rows: TypeAlias = list[dict[str, Any]]

KEPT_BYTES = 32_000_000
KNOWN_TOKENS = 4096


class Reply(NamedTuple):
    """A status, a body, and headers beside Content-Type (JSON unless given)."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class CardQuery(NamedTuple):
    """The filters of /cards that are obeyed (docs/platform.rst 2.3)."""

    fk_student: str = ""
    cf_id: str = ""
    sort_by: str = ""
    page: str = ""


class Backend:
    """Accounts, tokens and records of a college; bodies are encoded once and kept."""

    def __init__(self, college: College) -> None:
        self.college = college
        self._kept: LRUCache[object, bytes] = LRUCache(KEPT_BYTES, getsizeof=len)
        self._known: LRUCache[str, tuple[Student, int]] = LRUCache(KNOWN_TOKENS)
        self._revoked: set[str] = set()
        self._logins = 0
        self.switches = ASSUMED

    def switch(self, **changes: object) -> None:
        """Change some switches; raises msgspec.ValidationError for an unknown one."""
        merged = msgspec.structs.asdict(self.switches) | changes
        self.switches = msgspec.convert(merged, Switches)
        self._kept.clear()

    def revoke(self, token: str) -> None:
        """Let a token count as bad from now on."""
        self._revoked.add(token)

    def log_in(self, username: str, password: str, origin: str) -> Reply:
        """Answer a login; the case of the user name does not matter."""
        required = self.switches.required_origin
        if required is not None and origin != required:
            return _message(403, "Origin is not allowed")
        student = self.college.by_username(username)
        if student is None or password != student.password:
            return self._wrong_password()
        self._logins += 1
        token = self.college.token(
            student, issued=int(time.time()), serial=self._logins
        )
        body = pages.login(student, token)
        return Reply(200, msgspec.json.encode(body))

    def course_files(self, token: str, *, embed: bool) -> Reply:
        """Answer with the course files, with attendance and Total row if `embed`."""
        student = self._student(token)
        if student is None:
            return self._bad_token(token)
        key = ("course_files", student.index, embed)
        body = self._kept.get(key)
        if body is None:
            rows: Rows
            if embed:
                rows = self.college.course_files(student, self.switches)
            else:
                rows = records.bare_course_rows(self.college, student, self.switches)
            body = self._keep(key, rows)
        return Reply(200, body)

    def cards(self, token: str, query: CardQuery) -> Reply:
        """Answer with the attendance records that the query asks for.

        Without `fk_student` they are the token's own student's; an `fk_student` that
        is nobody's id, such as an admission number, matches nothing.
        """
        asker = self._student(token)
        if asker is None:
            return self._bad_token(token)
        student: Student | None = asker
        if query.fk_student and query.fk_student != str(asker.id):
            student = self.college.by_id(_number(query.fk_student))
        if student is None:
            return Reply(200, _envelope([]))
        if student != asker and not self.switches.read_others:
            return _message(403, "You are not authorised to see these records")
        key = (student.index, query._replace(fk_student=""))
        body = self._kept.get(key)
        if body is None:
            rows = self.college.cards(student, _number(query.cf_id), self.switches)
            rows = _sorted(rows, query.sort_by)
            body = self._keep(key, *self._paged(rows, query.page))
        return Reply(200, body)

    def _paged(self, rows: Rows, page: str) -> tuple[Rows, dict[str, int]]:
        """Return one page of the rows, and what the envelope says of the others."""
        size = self.switches.page_size
        if size is None:
            return rows, {}
        number = max(1, _number(page)) if self.switches.obeys_page else 1
        last = max(1, -(-len(rows) // size))
        shown = rows[size * (number - 1) : size * number]
        about = {"current_page": number, "last_page": last, "total": len(rows)}
        return shown, about

    def quizzes(self, token: str) -> Reply:
        """Answer with the evaluated quizzes; their links carry this very token."""
        student = self._student(token)
        if student is None:
            return self._bad_token(token)
        rows = pages.quizzes(self.college, student, token)
        return Reply(200, _envelope(rows))

    def schedule(self, token: str) -> Reply:
        """Answer with the timetable of the current month."""
        student = self._student(token)
        if student is None:
            return self._bad_token(token)
        key = ("schedule", student.index)
        body = self._kept.get(key)
        if body is None:
            body = self._keep(key, pages.schedule(self.college, student, self.switches))
        return Reply(200, body)

    def _student(self, token: str) -> Student | None:
        known = self._known.get(token)
        if known is None:
            claims = self.college.claims(token)
            student = self.college.by_id(claims.sub) if claims else None
            if claims is None or student is None:
                return None
            known = self._known[token] = (student, claims.exp)
        student, expiry = known
        if token in self._revoked or expiry <= time.time():
            return None
        confused = self.switches.answers_for
        return student if confused is None else self.college.by_id(confused)

    def _keep(self, key: object, rows: object, about: object = None) -> bytes:
        body = _envelope(rows, about)
        if self.switches.latin_1:
            body = body.decode().encode("latin-1", "replace")
        body = self.switches.prefix.encode() + body
        if len(body) <= KEPT_BYTES:
            self._kept[key] = body
        return body

    def _wrong_password(self) -> Reply:
        status = self.switches.wrong_password_status
        body = self.switches.wrong_password_body
        if body is not None:
            return Reply(status, body.encode())
        return _message(status, self.switches.wrong_password_msg)

    def _bad_token(self, token: str) -> Reply:
        style = self.switches.bad_token
        if style == "400":
            return Reply(400, b'{"error":"token_invalid"}')
        text = "Token is invalid" if token else "Token not provided"
        return _message(int(style), text)


def _sorted(rows: Rows, by: str) -> Rows:
    # A literal "+" of the URL has become a blank by now, and still means ascending.
    if by.lstrip("+- ") != "datetime1":
        return rows[::-1]
    return sorted(rows, key=_end_of, reverse=by.startswith("-"))


def _end_of(row: Any) -> str:
    return str(row.get("end_time", "")) if isinstance(row, dict) else ""


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 16 else 0


def _envelope(rows: object, about: object = None) -> bytes:
    more = msgspec.json.encode(about)[1:-1] + b"," if about else b""
    data = msgspec.json.encode(rows)
    return b'{"msg":"","response":{' + more + b'"data":' + data + b"}}"


def _message(code: int, text: str) -> Reply:
    """A refusal in words, whose own ``status`` is 0."""
    return Reply(code, msgspec.json.encode({"status": 0, "msg": text}))
