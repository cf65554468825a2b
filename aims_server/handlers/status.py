"""The operator's page: the service's metrics with sparklines, drawn by the browser.

A browser sends no Bearer token of its own, so the page takes METRICS_TOKEN as the
password of HTTP's Basic scheme too (RFC 7617), with any user name.
"""

import base64
import binascii
from pathlib import Path
from typing import Final

from ..errors import NotFound, Unauthorized
from ..pages import STATUS
from ..web import Response, json_response, quality
from .ops import TokenHandler

__all__ = ["StatusHandler"]

_FOLDER: Final = Path(__file__).with_name("status_page")
_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
)
_FILES: Final = {
    "/status": ("index.html", "text/html"),
    "/status/status.js": ("status.js", "text/javascript"),
    "/status/status.css": ("status.css", "text/css"),
}


class _BasicUnauthorized(Unauthorized):
    """A browser then asks its user for a password."""

    def headers(self) -> list[tuple[str, str]]:
        """Both schemes are taken; Basic first, for browsers."""
        return [("WWW-Authenticate", 'Basic realm="aims-server", Bearer')]


class StatusHandler(TokenHandler):
    """GET /status and its files; as JSON, what is told by /metrics."""

    endpoint = STATUS
    refusal = _BasicUnauthorized

    async def get(self) -> None:
        """Write the page, or what it asks for every two seconds."""
        self.check_token()
        file = _FILES.get(self.request.path)
        if file is None:
            raise NotFound
        accept = self.request.headers.get("Accept")
        as_json = quality(accept, "application/json") > quality(accept, "text/html")
        if as_json and self.request.path == STATUS.path:
            await self.context.metrics.prepare()
            self.send(json_response(200, self.context.metrics.summary()))
            return
        name, media_type = file
        body = (_FOLDER / name).read_bytes()
        content_type = ("Content-Type", f"{media_type}; charset=utf-8")
        self.send(Response(200, (content_type, *_HEADERS), body))

    def offered_token(self, scheme: str, credentials: str) -> str | None:
        """Of either scheme."""
        if scheme != "basic":
            return super().offered_token(scheme, credentials)
        try:
            text = base64.b64decode(credentials, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        return text.partition(":")[2]
