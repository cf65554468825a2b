"""The service's OpenAPI document, and a page to read it and try it.

The page is Swagger UI from the installed package ``offapi``. Its content security
policy forbids the browser to load anything from elsewhere.
"""

import asyncio
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ..errors import NotFound
from ..pages import DOCS, OPENAPI
from ..web import Answer, load_openapi
from .base import BaseHandler
from .static_files import make_file

__all__ = ["DocsHandler", "OpenApiHandler"]

# Swagger UI draws its icons from data: URLs.
_IMAGES: Final = "'self' data:"

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

# A validator would be on another host.
_SCRIPT: Final = b"""SwaggerUIBundle({
  dom_id: "#page",
  url: "openapi.json",
  validatorUrl: "none",
  displayRequestDuration: true,
  tryItOutEnabled: true,
});
"""


def _swagger_ui(name: str) -> bytes:
    # Not imported: that would read and join 9 MB of other viewers.
    spec = find_spec("offapi")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package offapi is not installed")
    return Path(spec.origin).with_name(name).read_bytes()


# By path: the file's name, and the function that loads its bytes.
_FILES: Final[dict[str, tuple[str, Callable[[], bytes]]]] = {
    "/openapi.json": ("openapi.json", load_openapi),
    "/docs": ("index.html", lambda: _PAGE),
    "/docs/page.js": ("page.js", lambda: _SCRIPT),
    "/docs/swagger-ui.js": ("ui.js", lambda: _swagger_ui("swagger_bundle.js")),
    "/docs/swagger-ui.css": ("ui.css", lambda: _swagger_ui("swagger_style.css")),
}


@cache
def _answer(path: str) -> Answer:
    """One file, read and compressed when it is first asked for."""
    name, load = _FILES[path]
    return make_file(name, load(), images=_IMAGES)


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
    """GET /docs, and the page's files below it."""

    endpoint = DOCS
