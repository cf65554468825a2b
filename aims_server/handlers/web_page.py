"""The student's page: the files of ``aims_server/web_page`` as ready bytes, read and
packed when a worker starts, so that a request reads nothing.
"""

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from ..errors import NotFound
from ..web import Answer, Variant, header_lines, matches
from .base import BaseHandler, HandlerContext

__all__ = ["PageHandler", "load_page"]

_MEDIA_TYPES: Final = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
# The page asks nobody but this service and runs no script but its own files.
_CONTENT_SECURITY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REVALIDATED: Final = "no-cache"
_IMMUTABLE: Final = "public, max-age=31536000, immutable"


def load_page(*, demo: bool = False) -> Mapping[str, Answer]:
    """The page's files by path: ``/``, and the others under ``/page/<digest>/``.

    The digest is of all files together: a module names another by its relative path,
    and a browser may keep every one of them for ever. ``demo`` marks the document, so
    that its script shows the demo's corner.
    """
    files = dict(_walk(resources.files("aims_server") / "web_page"))
    document = files.pop("index.html")
    digest = hashlib.blake2b(digest_size=8)
    for name, body in sorted(files.items()):
        digest.update(b"%s\0%d\0%s" % (name.encode(), len(body), body))
    folder = f"page/{digest.hexdigest()}/"
    document = document.replace(b'"page/', f'"{folder}'.encode())
    if demo:
        document = document.replace(b"<html ", b"<html data-demo ")
    return {
        "/": _answer("index.html", document, _REVALIDATED),
        **{
            f"/{folder}{name}": _answer(name, body, _IMMUTABLE)
            for name, body in files.items()
        },
    }


def _walk(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.read_bytes()


def _answer(name: str, body: bytes, cache_control: str) -> Answer:
    digest = hashlib.blake2b(body, digest_size=12).hexdigest()

    def variant(body: bytes, etag: str, *encoding: tuple[str, str]) -> Variant:
        headers = (
            ("Content-Type", f"{_MEDIA_TYPES[name.rpartition('.')[2]]}; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("ETag", etag),
            ("Vary", "Origin, Accept-Encoding"),
            ("Cache-Control", cache_control),
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


class PageHandler(BaseHandler):
    """GET / and the page's files."""

    route = "page"
    methods = ("GET",)
    limited = False

    def initialize(  # type: ignore[override]  # the route's arguments
        self, context: HandlerContext, files: Mapping[str, Answer]
    ) -> None:
        """Take the files beside what every handler takes."""
        super().initialize(context)
        self.files = files

    def get(self) -> None:
        """Write the file of this path, or 304 when the client has it already."""
        answer = self.files.get(self.request.path)
        if answer is None:
            raise NotFound
        headers = self.request.headers
        variant = answer.variant(headers.get("Accept-Encoding"))
        for header, value in variant.headers:
            self.set_header(header, value)
        if matches(headers.get("If-None-Match"), variant):
            self.set_status(304)
            return
        self.write(variant.body)
