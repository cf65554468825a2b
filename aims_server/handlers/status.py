"""The operators' page: the service's metrics with sparklines, drawn by the browser.

A browser sends no Bearer token of its own, so the page takes METRICS_TOKEN as the
password of HTTP's Basic scheme too (RFC 7617), with any user name.
"""

import base64
from functools import cache
from pathlib import Path
from typing import Final

from ..errors import NotFound, Unauthorized
from ..pages import STATUS
from ..web import Answer, json_response, quality
from .ops import TokenHandler
from .static_files import make_file

__all__ = ["StatusHandler"]

_FOLDER: Final = Path(__file__).with_name("status_page")
# By path: the file's name and its bytes, read at the start: those of this version.
_FILES: Final = {
    path: (name, (_FOLDER / name).read_bytes())
    for path, name in (
        ("/status", "index.html"),
        ("/status/status.js", "status.js"),
        ("/status/status.css", "status.css"),
    )
}


@cache
def _answer(path: str) -> Answer:
    """One file, compressed when it is first asked for."""
    name, body = _FILES[path]
    return make_file(name, body, "no-store", images="data:")


class _BasicUnauthorized(Unauthorized):
    """A 401 for which a browser asks its user for a password."""

    def headers(self) -> list[tuple[str, str]]:
        """Names Basic only, though Bearer is accepted too: with a second challenge in
        the header Chromium would not ask for a password.
        """
        return [("WWW-Authenticate", 'Basic realm="aims-server"')]


class StatusHandler(TokenHandler):
    """GET /status and its files; as JSON the same as /metrics."""

    endpoint = STATUS
    refusal = _BasicUnauthorized

    async def get(self) -> None:
        """Write the page, or the figures that it fetches every two seconds."""
        self.check_token()
        if self.request.path not in _FILES:
            raise NotFound
        accept = self.request.headers.get("Accept")
        as_json = quality(accept, "application/json") > quality(accept, "text/html")
        if as_json and self.request.path == STATUS.path:
            await self.context.metrics.prepare()
            self.send(json_response(200, self.context.metrics.summary()))
            return
        self.send_negotiated(_answer(self.request.path))

    def offered_token(self, scheme: str, credentials: str) -> str | None:
        """The Bearer token, or the password of Basic."""
        if scheme != "basic":
            return super().offered_token(scheme, credentials)
        try:
            text = base64.b64decode(credentials, validate=True).decode()
        except ValueError:  # no base64, no UTF-8, or not even ASCII
            return None
        return text.partition(":")[2]
