"""The job that the FastAPI and the aiohttp peer do, less what a framework does of it:
answers kept by the whole token, each gathered once at a time, and made ready in both
encodings, which is more than either framework's own compression would do.
"""

import asyncio
import gzip
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from cachetools import TTLCache

BASE = os.environ["EXTERNAL_API_BASE"]
CALLS = 100
"""Calls to the platform at once, in each process: our own default for the machine."""

Fetch = Callable[[str, str], Awaitable[bytes]]
"""Makes one call: a path, and the Authorization header."""


class Body(NamedTuple):
    """An answer in both encodings."""

    identity: bytes
    gzip: bytes

    def encoded(self, accepted: str) -> tuple[bytes, dict[str, str]]:
        """The bytes to send, and the headers that go with them."""
        if "gzip" in accepted:
            return self.gzip, {"Content-Encoding": "gzip"}
        return self.identity, {}


class Pages:
    """The pages of one process."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._kept: TTLCache[tuple[str, str], Body] = TTLCache(10_000, 300)
        self._running: dict[tuple[str, str], asyncio.Task[Body]] = {}

    async def get(self, page: str, authorization: str) -> Body:
        """One page of the token's student; raises KeyError for an unknown one."""
        key = (page, authorization)
        body = self._kept.get(key)
        if body is not None:
            return body
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._gather(page, authorization))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        body = self._kept[key] = await asyncio.shield(task)
        return body

    async def _gather(self, page: str, authorization: str) -> Body:
        gather = {
            "quiz": self._quiz,
            "attendance": self._attendance,
            "all-attendance": self._all_attendance,
        }[page]
        body = await gather(authorization)
        return Body(body, gzip.compress(body, 6))

    async def _quiz(self, authorization: str) -> bytes:
        return await self._fetch("/custom/myEvaluatedQuizzes", authorization)

    async def _course_files(self, authorization: str) -> list[dict[str, Any]]:
        path = "/custom/getCFMappedWithStudentID?embed_attendance_summary=1"
        rows: list[dict[str, Any]] = _rows(await self._fetch(path, authorization))
        return [row for row in rows if "id" in row]

    async def _attendance(self, authorization: str) -> bytes:
        courses = [
            {
                "course": " ".join(row["cdata"]["course_name"].split()),
                "courseCode": row["cdata"]["course_code"],
                "present": row["attendance_summary"]["Present"],
                "total": row["attendance_summary"]["Total"],
                "percent": row["attendance_summary"]["Percent"],
            }
            for row in await self._course_files(authorization)
        ]
        return _json({"dailyAttendance": courses})

    async def _all_attendance(self, authorization: str) -> bytes:
        courses = await self._course_files(authorization)
        answers = await asyncio.gather(
            *(
                self._fetch(
                    "/cards?type=Attendance&sort_by=%2Bdatetime1"
                    f"&equalto___fk_student={row['student_id']}"
                    f"&equalto___cf_id={row['id']}",
                    authorization,
                )
                for row in courses
            )
        )
        subjects = {
            f"{row['cdata']['course_name']} ({row['id']})": _subject(row, _rows(answer))
            for row, answer in zip(courses, answers, strict=True)
        }
        return _json({"subjects": subjects})


def _subject(row: dict[str, Any], cards: list[dict[str, Any]]) -> dict[str, Any]:
    days: dict[str, list[dict[str, Any]]] = {}
    for card in cards:
        days.setdefault(card["start_time"][:10], []).append(card)
    return {
        "courseCode": row["cdata"]["course_code"],
        "cfId": row["id"],
        **_counts("total", cards),
        "daily": [
            {
                "date": date,
                **_counts("", held),
                "details": [
                    {
                        "time": card["start_time"],
                        "status": card["state"],
                        "formatted": card["date_formatted"],
                    }
                    for card in held
                ],
            }
            for date, held in sorted(days.items())
        ],
    }


def _counts(prefix: str, cards: list[dict[str, Any]]) -> dict[str, int]:
    states = [card["state"] for card in cards]
    return {
        f"{prefix}{state}" if prefix else state.lower(): states.count(state)
        for state in ("Present", "Absent", "Leave")
    }


def _rows(answer: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(answer)["response"]["data"]
    return rows


def _json(page: object) -> bytes:
    return json.dumps(page, separators=(",", ":")).encode()
