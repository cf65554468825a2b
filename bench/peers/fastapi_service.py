"""The same job in FastAPI under uvicorn, httpx for the platform, cachetools for the
answers. ``PORT WORKERS``: uvicorn with as many workers, uvloop and httptools.
"""

import sys
from typing import Annotated

import httpx
import uvicorn
from fastapi import FastAPI, Header, Response
from pydantic import BaseModel

from bench.peers.job import BASE, CALLS, Body, Pages

app = FastAPI()
client = httpx.AsyncClient(limits=httpx.Limits(max_connections=CALLS), timeout=60)


async def fetch(path: str, authorization: str) -> bytes:
    """One call to the platform."""
    answer = await client.get(BASE + path, headers={"Authorization": authorization})
    answer.raise_for_status()
    return answer.content


pages = Pages(fetch)


class Token(BaseModel):
    """The body of POST /api/attendance."""

    token: str


class Credentials(BaseModel):
    """The body of POST /api/login."""

    username: str
    password: str


@app.get("/health")
async def health() -> dict[str, str]:
    """Whether it lives."""
    return {"status": "healthy"}


@app.post("/api/login")
async def login(credentials: Credentials) -> Response:
    """A login, passed on."""
    answer = await client.post(
        f"{BASE}/admin/authenticate", data=credentials.model_dump()
    )
    return Response(answer.content, answer.status_code, media_type="application/json")


@app.post("/api/attendance")
async def attendance(
    token: Token, accept_encoding: Annotated[str, Header()] = ""
) -> Response:
    """The summary."""
    return _answer(
        await pages.get("attendance", f"Bearer {token.token}"), accept_encoding
    )


@app.get("/api/{page}")
async def page(
    page: str,
    authorization: Annotated[str, Header()],
    accept_encoding: Annotated[str, Header()] = "",
) -> Response:
    """One page."""
    return _answer(await pages.get(page, authorization), accept_encoding)


def _answer(body: Body, accepted: str) -> Response:
    content, headers = body.encoded(accepted)
    return Response(content, headers=headers, media_type="application/json")


def main() -> None:
    """Run under uvicorn, as its deployment page says."""
    uvicorn.run(
        "bench.peers.fastapi_service:app",
        port=int(sys.argv[1]),
        workers=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
    )


if __name__ == "__main__":
    main()
