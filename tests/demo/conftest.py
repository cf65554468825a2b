"""A small platform on a free port, and ways to call it over real sockets."""

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from aims_server.demo.college import College
from aims_server.demo.platform import SimulatedPlatform

COURSE_FILES = "/custom/getCFMappedWithStudentID"


@dataclass
class Caller:
    """A client of one platform; its student's token goes with each call."""

    platform: SimulatedPlatform
    http: AsyncHTTPClient
    token: str

    async def get(self, path: str, /, **query: Any) -> HTTPResponse:
        """Call a GET and return what comes, whatever its status."""
        return await self.send("GET", f"{path}?{urlencode(query)}" if query else path)

    async def send(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> HTTPResponse:
        """Call; header names are written with underscores, a dict is sent as JSON."""
        headers = {"Authorization": f"Bearer {self.token}"} | headers
        return await self.http.fetch(
            self.platform.base_url + path,
            method=method,
            headers={k.replace("_", "-"): v for k, v in headers.items()},
            body=msgspec.json.encode(body) if isinstance(body, dict) else body,
            raise_error=False,
            follow_redirects=False,
        )

    async def rows(self, path: str, /, **query: Any) -> list[dict[str, Any]]:
        """Return the rows of an answer that must be a sound one."""
        return rows(await self.get(path, **query))

    async def raw(self, path: str = COURSE_FILES) -> bytes:
        """Read what comes over the bare socket until its end."""
        reader, writer = await self.open(path)
        try:
            return await reader.read()
        finally:
            writer.close()

    async def open(
        self, path: str = COURSE_FILES, *, keep_alive: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a call over a connection of its own and return its two ends."""
        port = int(self.platform.base_url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET /api/v1{path} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {self.token}\r\n"
            f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n".encode()
        )
        return reader, writer


def json_of(response: HTTPResponse) -> Any:
    """Return the decoded body."""
    return msgspec.json.decode(response.body)


def rows(response: HTTPResponse) -> list[dict[str, Any]]:
    """Return `response.data` of a sound answer in the usual envelope."""
    assert response.code == 200, response.body
    found = json_of(response)
    assert found["msg"] == ""
    result: list[dict[str, Any]] = found["response"]["data"]
    return result


@pytest.fixture(name="college")
def _college() -> College:
    """60 students, in the fourth week of their term."""
    return College(students=60, weeks=4)


@pytest.fixture
def caller(platform, io_loop):
    """Student 0 of that platform."""

    async def client() -> AsyncHTTPClient:
        return AsyncHTTPClient(force_instance=True)

    http = io_loop.run_sync(client)
    yield Caller(platform, http, platform.college.token(platform.college.student(0)))
    http.close()
