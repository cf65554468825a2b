"""The same job in aiohttp, server and client; cachetools for the answers.

``python -m bench.peers.aiohttp_service PORT WORKERS``: one process a worker under
uvloop on one inherited socket, no access log. Like the FastAPI peer it has no limiter,
metrics or request ids.
"""

import asyncio
import json
import os
import sys
from typing import Any

import aiohttp
import uvloop
from aiohttp import web
from cachetools import TTLCache
from tornado.netutil import bind_sockets

BASE = os.environ["EXTERNAL_API_BASE"]

kept: TTLCache[tuple[str, str], bytes] = TTLCache(10_000, 300)
running: dict[tuple[str, str], "asyncio.Task[bytes]"] = {}
client: aiohttp.ClientSession


async def fetch(path: str, authorization: str) -> Any:
    """One call to the platform, as JSON."""
    return json.loads(await fetch_bytes(path, authorization))


async def fetch_bytes(path: str, authorization: str) -> bytes:
    """One call to the platform."""
    headers = {"Authorization": authorization}
    async with client.get(BASE + path, headers=headers) as answer:
        answer.raise_for_status()
        return await answer.read()


async def quizzes(authorization: str) -> bytes:
    """The quizzes' bytes."""
    return await fetch_bytes("/custom/myEvaluatedQuizzes", authorization)


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


async def page(request: web.Request) -> web.Response:
    """One page, kept for five minutes and asked for once at a time."""
    authorization = request.headers["Authorization"]
    key = (request.match_info["page"], authorization)
    body = kept.get(key)
    if body is None:
        task = running.get(key)
        if task is None:
            task = running[key] = asyncio.create_task(GATHER[key[0]](authorization))
            task.add_done_callback(lambda _: running.pop(key, None))
        body = kept[key] = await asyncio.shield(task)
    answer = web.Response(body=body, content_type="application/json")
    answer.enable_compression()
    return answer


async def serve(sockets: list[Any]) -> None:
    """Serve on the sockets for ever."""
    global client
    client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100))
    app = web.Application()
    app.router.add_get("/api/{page}", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    for sock in sockets:
        await web.SockSite(runner, sock, backlog=1024).start()
    await asyncio.Event().wait()


def main() -> None:
    """Bind, fork, serve."""
    port, workers = int(sys.argv[1]), int(sys.argv[2])
    sockets = bind_sockets(port, "127.0.0.1", backlog=1024)
    for _ in range(workers - 1):
        if os.fork() == 0:
            break
    uvloop.run(serve(sockets))


if __name__ == "__main__":
    main()
