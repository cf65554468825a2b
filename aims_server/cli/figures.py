"""Reads a running service's figures from ``/metrics`` every second, for rates."""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from ..config import Settings

__all__ = [
    "Figures",
    "NoAnswer",
    "checked_url",
    "read_figures",
    "readings",
    "service_url",
]

_PATIENCE_SECONDS: Final = 5.0
_EVERY_SECONDS: Final = 1.0
_SHOWN: Final = {
    *("state", "requests", "errors", "latencySeconds"),
    *("cache", "upstream", "workers"),
}

Figures = dict[str, Any]


class _Unredirected(urllib.request.HTTPRedirectHandler):
    """Makes a redirect an error: followed, it would carry the token elsewhere."""

    def redirect_request(self, *_: object) -> None:
        """Follow nowhere."""


class NoAnswer(Exception):
    """The service gave no figures; the message is one line."""


def service_url(settings: Settings) -> str:
    """The URL of a service with these settings on this machine; raises
    :class:`NoAnswer` if they do not tell it.
    """
    if settings.port == 0:
        raise NoAnswer("PORT=0 takes any free one: the log says which, for --url")
    host = settings.hosts[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.port}"


def checked_url(url: str) -> str:
    """A typed URL, whose scheme may be missing; raises :class:`NoAnswer`."""
    url = (url if "://" in url else f"http://{url}").rstrip("/")
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:  # an invalid port, or half a pair of brackets
        known = False
    if not known or not parts.hostname:
        raise NoAnswer("--url must be http://host:port")
    return url


def read_figures(url: str, token: str | None) -> Figures:
    """The figures of all workers; raises :class:`NoAnswer`."""
    if token and not re.fullmatch("[!-~]+", token):
        # The library's own message would show it.
        raise NoAnswer("METRICS_TOKEN has a character that no token has")
    # Whatever http_proxy says: the service is on this machine, or named by --url.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Unredirected)
    try:
        request = urllib.request.Request(
            f"{url}/metrics", headers={"Accept": "application/json"}
        )
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with opener.open(request, timeout=_PATIENCE_SECONDS) as answer:
            body = answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            hint = _hint_of_refusal(refusal.code, token)
            raise NoAnswer(f"{url} answered {refusal.code}{hint}") from None
    except (OSError, ValueError, HTTPException) as failure:
        reason = getattr(failure, "reason", failure)
        why = getattr(reason, "strerror", None) or str(reason)
        if isinstance(reason, ConnectionRefusedError):
            why += " (is it running there? HOST and PORT or --url say where it is)"
        raise NoAnswer(f"no figures from {url}: {why}") from None
    try:
        figures = json.loads(body)
    except (ValueError, RecursionError):
        figures = None
    if not isinstance(figures, dict) or not figures.keys() >= _SHOWN:
        raise NoAnswer(f"{url} is not aims-server, or another version of it")
    return figures


def _hint_of_refusal(status: int, token: str | None) -> str:
    match status:
        case 301 | 302 | 303 | 307 | 308:
            return ": it redirects, and METRICS_TOKEN is sent nowhere else"
        case 401:
            return f": METRICS_TOKEN is {'another one' if token else 'not set here'}"
        case 404:
            return ": ask the service itself, as balancers keep /metrics to themselves"
        case 429:
            return ": too many wrong METRICS_TOKEN from this address; wait a minute"
    return ""


def readings(url: str, token: str | None) -> Iterator[tuple[Figures, Figures, float]]:
    """Two readings and the seconds between them, again and again; raises
    :class:`NoAnswer`.
    """
    before, began = read_figures(url, token), time.monotonic()
    while True:
        time.sleep(_EVERY_SECONDS)
        after, now = read_figures(url, token), time.monotonic()
        yield before, after, now - began
        before, began = after, now
