"""What this service says of itself: its OpenAPI document, and a page to try it on.

The page is Swagger UI out of the installed package ``offapi``; a browser is told to
load nothing from anywhere else.
"""

import asyncio
import gzip
import hashlib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ..errors import NotFound
from ..web import (
    Answer,
    Variant,
    header_lines,
    load_openapi,
    matches,
)
from .base import BaseHandler

__all__ = ["DocsHandler", "OpenApiHandler"]

_VARY: Final = "Origin, Accept-Encoding"
# Swagger UI draws its icons from data: URLs and asks for no other exception.
_CONTENT_SECURITY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# All addresses are relative, so that the page works behind a proxy's prefix too.
_PAGE: Final = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>aims_server</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<noscript>This page needs JavaScript; <a href="openapi.json">the document</a> does not.
</noscript>
<script src="docs/swagger-ui.js"></script>
<script src="docs/page.js"></script>
</body>
</html>
"""

# The validator would be asked on another host.
_SCRIPT: Final = b"""SwaggerUIBundle({
  dom_id: "#page",
  url: "openapi.json",
  validatorUrl: "none",
  displayRequestDuration: true,
  tryItOutEnabled: true,
});
"""


def _swagger_ui(name: str) -> bytes:
    # Found without importing it: that would read and join 9 MB of other viewers.
    spec = find_spec("offapi")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package offapi is not installed")
    return Path(spec.origin).with_name(name).read_bytes()


# By path: the media type, and how to come by the bytes.
_FILES: Final[dict[str, tuple[str, Callable[[], bytes]]]] = {
    "/openapi.json": ("application/json", load_openapi),
    "/docs": ("text/html", lambda: _PAGE),
    "/docs/page.js": ("text/javascript", lambda: _SCRIPT),
    "/docs/swagger-ui.js": (
        "text/javascript",
        lambda: _swagger_ui("swagger_bundle.js"),
    ),
    "/docs/swagger-ui.css": ("text/css", lambda: _swagger_ui("swagger_style.css")),
}


@cache
def _answer(path: str) -> Answer:
    """One file with its gzip form: read and compressed when it is first asked for."""
    media_type, load = _FILES[path]
    body = load()
    digest = hashlib.blake2b(body, digest_size=12).hexdigest()

    def variant(body: bytes, etag: str, *encoding: tuple[str, str]) -> Variant:
        headers = (
            ("Content-Type", f"{media_type}; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("ETag", etag),
            ("Vary", _VARY),
            ("Cache-Control", "no-cache"),
            ("Content-Security-Policy", _CONTENT_SECURITY),
            ("Referrer-Policy", "no-referrer"),
            *encoding,
        )
        return Variant(body, etag, headers, header_lines(headers))

    return Answer(
        variant(body, f'W/"{digest}"'),
        variant(
            gzip.compress(body, mtime=0),
            f'W/"{digest}-gzip"',
            ("Content-Encoding", "gzip"),
        ),
    )


class _FileHandler(BaseHandler):
    """Files that are the same for everybody."""

    methods = ("GET",)

    async def get(self) -> None:
        """Write the file of this path, or 304 when the client has it already."""
        if self.request.path not in _FILES:
            raise NotFound
        # In a thread, because the largest takes long to compress.
        answer = await asyncio.to_thread(_answer, self.request.path)
        headers = self.request.headers
        variant = answer.variant(headers.get("Accept-Encoding"))
        for header, value in variant.headers:
            self.set_header(header, value)
        if matches(headers.get("If-None-Match"), variant):
            self.set_status(304)
            return
        self.write(variant.body)


class OpenApiHandler(_FileHandler):
    """GET /openapi.json."""

    route = "openapi"


class DocsHandler(_FileHandler):
    """GET /docs, and under it the files of its page."""

    route = "docs"
