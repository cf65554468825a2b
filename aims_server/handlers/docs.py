"""What this service says of itself: its OpenAPI document, and a page to try it on.

The page is Swagger UI out of the installed package ``offapi``; a browser is told to
load nothing from anywhere else.
"""

import asyncio
import gzip
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ..errors import NotFound
from ..pages import DOCS, OPENAPI
from ..web import Answer, digest_of, load_openapi, make_variant
from .base import BaseHandler

__all__ = ["DocsHandler", "OpenApiHandler"]

# Swagger UI draws its icons from data: URLs and asks for no other exception.
_CONTENT_SECURITY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_LASTING: Final = (
    ("Vary", "Origin, Accept-Encoding"),
    ("Cache-Control", "no-cache"),
    ("Content-Security-Policy", _CONTENT_SECURITY),
    ("Referrer-Policy", "no-referrer"),
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
    digest = digest_of(body)
    content_type = ("Content-Type", f"{media_type}; charset=utf-8")
    packed = gzip.compress(body, mtime=0)
    return Answer(
        make_variant(body, digest, content_type, _LASTING),
        make_variant(packed, digest, content_type, _LASTING, packed=True),
    )


class _FileHandler(BaseHandler):
    """Files that are the same for everybody."""

    async def get(self) -> None:
        """Write the file of this path, or 304 when the client has it already."""
        if self.request.path == "/docs/":
            self.redirect("../docs")  # the page's own links are relative to that
            return
        if self.request.path not in _FILES:
            raise NotFound
        # In a thread, because the largest takes long to compress.
        self.send_negotiated(await asyncio.to_thread(_answer, self.request.path))


class OpenApiHandler(_FileHandler):
    """GET /openapi.json."""

    endpoint = OPENAPI


class DocsHandler(_FileHandler):
    """GET /docs, and under it the files of its page."""

    endpoint = DOCS
