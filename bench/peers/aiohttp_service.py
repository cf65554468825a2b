"""The same job in aiohttp, server and client; cachetools for the answers.
``PORT WORKERS``: one process a worker with ``web.run_app`` under uvloop, on one
inherited socket.
"""

import os
import socket
import sys
from collections.abc import AsyncIterator

import aiohttp
import uvloop
from aiohttp import web
from tornado.netutil import bind_sockets

from bench.peers.job import BASE, CALLS, Body, Pages

CLIENT = web.AppKey("client", aiohttp.ClientSession)
PAGES = web.AppKey("pages", Pages)


async def health(_: web.Request) -> web.Response:
    """Whether it lives."""
    return web.json_response({"status": "healthy"})


async def login(request: web.Request) -> web.Response:
    """A login, passed on."""
    credentials = await request.json()
    client = request.app[CLIENT]
    async with client.post(f"{BASE}/admin/authenticate", data=credentials) as answer:
        body = await answer.read()
        return web.Response(
            status=answer.status, body=body, content_type="application/json"
        )


async def attendance(request: web.Request) -> web.Response:
    """The summary."""
    token = (await request.json())["token"]
    body = await request.app[PAGES].get("attendance", f"Bearer {token}")
    return _answer(request, body)


async def page(request: web.Request) -> web.Response:
    """One page."""
    authorization = request.headers["Authorization"]
    body = await request.app[PAGES].get(request.match_info["page"], authorization)
    return _answer(request, body)


def _answer(request: web.Request, body: Body) -> web.Response:
    content, headers = body.encoded(request.headers.get("Accept-Encoding", ""))
    return web.Response(body=content, headers=headers, content_type="application/json")


async def calling(app: web.Application) -> AsyncIterator[None]:
    """The client, as long as the application runs."""
    limit = aiohttp.TCPConnector(limit=CALLS)
    timeout = aiohttp.ClientTimeout(60)
    async with aiohttp.ClientSession(connector=limit, timeout=timeout) as client:

        async def fetch(path: str, authorization: str) -> bytes:
            headers = {"Authorization": authorization}
            async with client.get(BASE + path, headers=headers) as answer:
                answer.raise_for_status()
                return await answer.read()

        app[CLIENT], app[PAGES] = client, Pages(fetch)
        yield


def main() -> None:
    """Bind, fork, serve."""
    port, workers = int(sys.argv[1]), int(sys.argv[2])
    sockets: list[socket.socket] = bind_sockets(port, "127.0.0.1", backlog=1024)
    for _ in range(workers - 1):
        if os.fork() == 0:
            break
    app = web.Application()
    app.add_routes(
        [
            web.get("/health", health),
            web.post("/api/login", login),
            web.post("/api/attendance", attendance),
            web.get("/api/{page}", page),
        ]
    )
    app.cleanup_ctx.append(calling)
    loop = uvloop.new_event_loop()
    web.run_app(app, sock=sockets, loop=loop, access_log=None, print=None)


if __name__ == "__main__":
    main()
