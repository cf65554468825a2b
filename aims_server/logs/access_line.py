"""Lines of the access log out of what is known of a request.

The line in JSON is put together from parts that many lines share, by hand since to
encode and search all fields of each took 2.8 us of CPU a line; so it takes 1.9.
"""

import logging
import re
from functools import lru_cache
from typing import Final, NamedTuple

from .format import ACCESS, Fields, json_line, timestamp

__all__ = ["AccessEntry", "access_fields", "access_line"]

_LEVEL_NAMES: Final = {
    level: logging.getLevelName(level).lower()
    for level in (logging.DEBUG, logging.INFO, logging.WARNING)
}
# A request id and an address that need no escapes and, of hexadecimal digits, hold no
# secret. An id of another form, which a client may have chosen, is encoded in full.
_HARMLESS: Final = re.compile(r"[0-9a-f-]{1,64} [0-9A-Fa-f.:]{1,45}")


class AccessEntry(NamedTuple):
    """One answer; ``time`` is Unix time, ``level`` a number of ``logging``."""

    time: float
    seconds: float
    request_id: str
    address: str
    upstream_seconds: float | None
    level: int
    route: str
    method: str
    path: str
    status: int
    cache: str | None
    code: str | None


def access_line(entry: AccessEntry) -> bytes | None:
    r"""The entry as a line of JSON; None if a part of it has an unusual form.

    >>> entry = AccessEntry(
    ...     *(1756720800.5, 0.25, "9f86d081", "203.0.113.7", None, logging.INFO),
    ...     *("quiz", "GET", "/api/quiz", 200, "HIT", None),
    ... )
    >>> access_line(entry).decode().partition(',"time"')[2]
    ':"2025-09-01T10:00:00.500Z","requestId":"9f86d081","address":"203.0.113.7","seconds":0.250000}\n'
    """
    now, seconds, request_id, address, upstream_seconds, *common = entry
    if upstream_seconds is not None or not _HARMLESS.fullmatch(
        f"{request_id} {address}"
    ):
        return None
    return (
        f'{_opening(*common)},"time":"{timestamp(now)}","requestId":"{request_id}",'
        f'"address":"{address}","seconds":{seconds:.6f}}}\n'
    ).encode()


def access_fields(entry: AccessEntry) -> tuple[Fields, str]:
    """The entry's fields, and what of them a client can choose: to search all of them
    for secrets takes longer than everything else.
    """
    method, path = entry.method, entry.path
    message = f"{method} {path} {entry.status}"
    fields: Fields = {
        "time": timestamp(entry.time),
        "level": _LEVEL_NAMES[entry.level],
        "logger": ACCESS,
        "message": message,
        "requestId": entry.request_id,
        "route": entry.route,
        "method": method,
        "path": path,
        "status": entry.status,
        "seconds": round(entry.seconds, 6),
        "address": entry.address,
    }
    if entry.cache is not None:
        fields["cache"] = entry.cache
    if entry.upstream_seconds is not None:
        fields["upstreamSeconds"] = round(entry.upstream_seconds, 6)
    if entry.code is not None:
        fields["code"] = entry.code
    return fields, f"{message} {entry.request_id}"


_OWN: Final = ("time", "requestId", "seconds", "address")


@lru_cache(256)  # routes, statuses and outcomes are few; of unknown paths the last ones
def _opening(
    level: int,
    route: str,
    method: str,
    path: str,
    status: int,
    cache: str | None,
    code: str | None,
) -> str:
    """What the lines of like requests have in common."""
    entry = AccessEntry(
        *(0.0, 0.0, "", "", None, level, route, method, path, status, cache, code)
    )
    fields, _ = access_fields(entry)
    for name in _OWN:
        del fields[name]
    return json_line(fields).decode().removesuffix("}\n")
