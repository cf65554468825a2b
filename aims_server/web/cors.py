"""Decides which browser origins may read our answers, by an exact list."""

from collections.abc import Iterable
from typing import Final

from .headers import HeaderPairs, header_lines

__all__ = ["CorsPolicy"]

_EXPOSED: Final = (
    "X-Cache, X-Request-Id, RateLimit, RateLimit-Policy, Retry-After, Age, ETag"
)
_ALLOWED_HEADERS: Final = (
    "Authorization, Cache-Control, Content-Type, If-None-Match, X-Request-Id"
)
_PREFLIGHT_SECONDS: Final = "7200"


class CorsPolicy:
    r"""The CORS headers of each origin, made once.

    >>> policy = CorsPolicy(["https://front.example"])
    >>> policy.lines("https://front.example").partition("\r\n")[0]
    'Access-Control-Allow-Origin: https://front.example'
    >>> policy.lines("https://other.example")
    ''

    Credentials mode is off: tokens travel in ``Authorization``, never in cookies. The
    caller adds ``Vary: Origin`` to every answer, for allowed origins and others.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._allowed = {origin: _allowing(origin) for origin in origins}
        self._lines = {
            origin: header_lines(pairs) for origin, pairs in self._allowed.items()
        }

    def lines(self, origin: str | None) -> str:
        """The header lines of an ordinary answer; empty for an unlisted origin."""
        return self._lines.get(origin or "", "")

    def preflight(self, origin: str | None, methods: Iterable[str]) -> HeaderPairs:
        """The headers of a preflight's answer; empty for an unlisted origin."""
        allowed = self._allowed.get(origin or "")
        if allowed is None:
            return ()
        return (
            *allowed,
            ("Access-Control-Allow-Methods", ", ".join(methods)),
            ("Access-Control-Allow-Headers", _ALLOWED_HEADERS),
            ("Access-Control-Max-Age", _PREFLIGHT_SECONDS),
        )


def _allowing(origin: str) -> HeaderPairs:
    return (
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", _EXPOSED),
    )
