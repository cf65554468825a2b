"""Parses the URL of the store, a Valkey or Redis server; opens nothing."""

import re
from typing import Any, Final, Self
from urllib.parse import unquote

from msgspec import Struct

__all__ = ["StoreAddress"]

_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_URL: Final = (
    r"(?P<kind>redis|valkey|unix)(?P<tls>s)?(?P<sentinel>\+sentinel)?://"
    r"(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<hosts>[^/@?#]*)(?P<path>/[^?#]*)?"
)
_HOST: Final = (
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9._-]*)))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


class StoreAddress(Struct, frozen=True, kw_only=True):
    """The address of a server: host and port, the path of its Unix socket, or the
    sentinels that know it; with user and password if it needs them.

    >>> StoreAddress.parse("rediss://app:secret@store.example:6380/2").hosts
    (('store.example', 6380),)
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    sentinel: str | None = None
    """The name under which the sentinels know the server; ``hosts`` are theirs."""
    tls: bool = False
    user: str | None = None
    password: str | None = None
    database: int = 0

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse ``redis[s]://``, ``valkey[s]://``, ``unix://`` or
        ``redis[s]+sentinel://h1,h2,h3/name``; raises ValueError for anything else.
        """
        parts = re.fullmatch(_URL, url)
        if parts is None:
            raise ValueError("not the URL of a store")
        path = parts["path"] or ""
        common: dict[str, Any] = {
            "tls": parts["tls"] is not None,
            "user": unquote(parts["user"] or "") or None,
            "password": unquote(parts["password"] or "") or None,
        }
        if parts["kind"] == "unix":
            if parts["tls"] or parts["sentinel"] or parts["hosts"] or len(path) < 2:
                raise ValueError("not the path of a socket")
            return cls(path=unquote(path), **common)
        if parts["sentinel"]:
            name, _, database = path[1:].partition("/")
            if not name:
                raise ValueError("no name for the sentinels")
            hosts = [_host(host, _SENTINEL_PORT) for host in parts["hosts"].split(",")]
            common |= {"sentinel": unquote(name)}
        else:
            database = path[1:]
            hosts = [_host(parts["hosts"], _PORT)]
        return cls(hosts=tuple(hosts), database=_database(database), **common)

    def __str__(self) -> str:
        """The URL, without its password."""
        kind = "unix" if self.path else "rediss" if self.tls else "redis"
        hosts = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for host, port in self.hosts
        )
        user = "***@" if self.user or self.password else ""
        if self.sentinel:
            return f"{kind}+sentinel://{user}{hosts}/{self.sentinel}/{self.database}"
        return f"{kind}://{user}{hosts}{self.path or f'/{self.database}'}"

    __repr__ = __str__


def _host(text: str, port: int) -> tuple[str, int]:
    parts = re.fullmatch(_HOST, text)
    if parts is None or not 0 < int(parts["port"] or port) < 65536:
        raise ValueError("not a host with an optional port")
    return parts["v6"] or parts["name"], int(parts["port"] or port)


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,3}", text):
        raise ValueError("not the number of a database")
    return int(text or 0)
