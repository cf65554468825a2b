"""Static files as ready answers, plain and gzipped."""

import gzip
from typing import Final

from ..web import Answer, digest_of, make_variant

__all__ = ["IMMUTABLE", "REVALIDATED", "make_file"]

#: ``Cache-Control`` of a file whose content may change under the same address.
REVALIDATED: Final = "no-cache"
#: ``Cache-Control`` of a file whose address has the digest of its content.
IMMUTABLE: Final = "public, max-age=31536000, immutable"

_MEDIA_TYPES: Final = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "json": "application/json",
    "svg": "image/svg+xml",
}


def make_file(
    name: str, body: bytes, cache_control: str = REVALIDATED, images: str = "'self'"
) -> Answer:
    """The answer for a file of this name. Its content security policy allows scripts,
    styles and requests from and to this service only; ``images`` is the source list
    (W3C CSP 3) for images.
    """
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
    content_type = ("Content-Type", f"{media_type}; charset=utf-8")
    lasting = (
        ("Vary", "Origin, Accept-Encoding"),
        ("Cache-Control", cache_control),
        ("Content-Security-Policy", policy),
        ("Referrer-Policy", "no-referrer"),
    )
    digest = digest_of(body)
    packed = gzip.compress(body, mtime=0)
    return Answer(
        make_variant(packed, digest, content_type, lasting, gzipped=True),
        make_variant(body, digest, content_type, lasting),
    )
