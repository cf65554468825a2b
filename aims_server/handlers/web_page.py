"""Serves the student's page, the files of ``aims_server/web_page``. The first request
compresses them (2 ms), so that a start does not wait for it.
"""

import hashlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from ..errors import NotFound
from ..pages import WEB_PAGE
from ..web import Answer
from .base import BaseHandler
from .context import HandlerContext
from .static_files import IMMUTABLE, make_file

__all__ = ["DocsRedirect", "WebPageHandler", "load_page"]

# importlib.resources would import tempfile, shutil and all compressors: 1 ms.
_FOLDER: Final = f"{Path(__file__).parents[1]}/web_page/"
# Read before the workers are forked: all of them serve the page of the version that
# runs, even when another version has been installed meanwhile.
_FILES: Final = {
    path.removeprefix(_FOLDER): Path(path).read_bytes()
    for folder, _, names in os.walk(_FOLDER)
    for path in [os.path.join(folder, name) for name in names]
}


@cache
def load_page(*, demo: bool = False) -> Mapping[str, Answer]:
    """The page's files by path: ``/``, and the others under ``/page/<digest>/``.

    One digest covers all files, because modules import each other by relative path and
    a browser may keep each file for ever. ``demo`` marks the document, so that its
    script shows the demo's controls.
    """
    files = dict(_FILES)
    document = files.pop("index.html")
    digest = hashlib.blake2b(digest_size=8)
    for name, body in sorted(files.items()):
        digest.update(b"%s\0%d\0%s" % (name.encode(), len(body), body))
    folder = f"page/{digest.hexdigest()}/"
    document = document.replace(b'"page/', f'"{folder}'.encode())
    if demo:
        document = document.replace(b"<html ", b"<html data-demo ")
    return {
        "/": make_file("index.html", document),
        **{f"/{folder}{n}": make_file(n, body, IMMUTABLE) for n, body in files.items()},
    }


class WebPageHandler(BaseHandler):
    """GET / and the page's files."""

    endpoint = WEB_PAGE

    def initialize(  # type: ignore[override]  # the route's arguments
        self, context: HandlerContext, demo: bool
    ) -> None:
        """``demo`` is passed to :func:`load_page`."""
        super().initialize(context)
        self._demo = demo

    def get(self) -> None:
        """Write the file of this path, or 304 when the client has it already."""
        answer = load_page(demo=self._demo).get(self.request.path)
        if answer is None:
            raise NotFound
        self.send_negotiated(answer)


class DocsRedirect(BaseHandler):
    """GET / without ``WEB_PAGE``: redirects to the description of the API."""

    endpoint = WEB_PAGE

    def get(self) -> None:
        """Redirect to /docs; relative, so that it works behind a proxy's prefix."""
        self.redirect("docs")
