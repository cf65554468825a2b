"""The same job in FastAPI: httpx for the platform, cachetools for the answers.

Run as ``uvicorn bench.peers.fastapi_service:app --workers N --no-access-log`` with
uvloop and httptools, as uvicorn's deployment page recommends. It gathers, caches by the
whole token and coalesces; it has no limiter, metrics, request ids or access log.
"""

import asyncio
import json
import os
from typing import Any

import httpx
from cachetools import TTLCache
from fastapi import FastAPI, Header, Response
from fastapi.middleware.gzip import GZipMiddleware

BASE = os.environ["EXTERNAL_API_BASE"]

app = FastAPI()
app.add_middleware(GZipMiddleware, minimum_size=860)
client = httpx.AsyncClient(limits=httpx.Limits(max_connections=100), timeout=10)
kept: TTLCache[tuple[str, str], bytes] = TTLCache(10_000, 300)
running: dict[tuple[str, str], "asyncio.Task[bytes]"] = {}


async def fetch(path: str, authorization: str) -> Any:
    """One call to the platform, as JSON."""
    answer = await client.get(BASE + path, headers={"Authorization": authorization})
    answer.raise_for_status()
    return answer.json()


async def quizzes(authorization: str) -> bytes:
    """The quizzes' bytes."""
    headers = {"Authorization": authorization}
    answer = await client.get(f"{BASE}/custom/myEvaluatedQuizzes", headers=headers)
    answer.raise_for_status()
    return answer.content


async def all_attendance(authorization: str) -> bytes:
    """Every subject's records, gathered side by side."""
    files = await fetch(
        "/custom/getCFMappedWithStudentID?embed_attendance_summary=1", authorization
    )
    rows = [row for row in files["response"]["data"] if "id" in row]
    records = await asyncio.gather(
        *(
            fetch(
                "/cards?type=Attendance&sort_by=%2Bdatetime1"
                f"&equalto___fk_student={row['student_id']}"
                f"&equalto___cf_id={row['id']}",
                authorization,
            )
            for row in rows
        )
    )
    subjects: dict[str, Any] = {}
    for row, answer in zip(rows, records, strict=True):
        days: dict[str, list[Any]] = {}
        for card in answer["response"]["data"]:
            days.setdefault(card["start_time"][:10], []).append(card)
        subjects[row["cdata"]["course_name"]] = [
            {
                "date": date,
                "present": sum(card["state"] == "Present" for card in cards),
                "details": [
                    {
                        "time": card["start_time"],
                        "status": card["state"],
                        "formatted": card["date_formatted"],
                    }
                    for card in cards
                ],
            }
            for date, cards in sorted(days.items())
        ]
    return json.dumps(subjects, separators=(",", ":")).encode()


GATHER = {"quiz": quizzes, "all-attendance": all_attendance}


@app.get("/api/{page}")
async def page(page: str, authorization: str = Header()) -> Response:
    """One page, kept for five minutes and asked for once at a time."""
    key = (page, authorization)
    body = kept.get(key)
    if body is None:
        task = running.get(key)
        if task is None:
            task = running[key] = asyncio.create_task(GATHER[page](authorization))
            task.add_done_callback(lambda _: running.pop(key, None))
        body = kept[key] = await asyncio.shield(task)
    return Response(body, media_type="application/json")
