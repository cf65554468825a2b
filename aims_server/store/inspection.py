"""Inspects a store for `aims-server check`, before students depend on it."""

from collections.abc import Iterator
from typing import Any, Final

from ..primitives import StoreAddress
from .connection import Connection, Refused
from .redis_clients import open_client, tls_context
from .scripts import PROBE, PROBE_KEY

__all__ = ["inspect"]

_SECONDS: Final = 2.0


async def inspect(
    address: StoreAddress, *, ca_file: str | None = None
) -> tuple[str, list[str]]:
    """Try what the service does there. Returns what the store is, and a sentence for
    each setting that is probably not intended.

    Raises `StoreError` if the store does not answer.
    """
    connection = Connection(open_client(address, tls=tls_context(address, ca_file)))
    try:
        await connection.call("PING", seconds=_SECONDS)
        refused = await _refusals(connection)
        info = await _answer(connection, "INFO")
        kept = [
            await _answer(connection, "CONFIG", "GET", name)
            for name in ("save", "appendonly")
        ]
    finally:
        await connection.close()
    if not isinstance(info, dict):
        return "reached; its user may not ask more (+info)", refused
    name = info.get("server_name", "redis")
    version = info.get("valkey_version") or info.get("redis_version", "?")
    policy = info.get("maxmemory_policy", "?")
    size = info.get("maxmemory_human", "?")
    return (
        f"{name} {version}, maxmemory {size}, {policy}",
        [*refused, *_doubts(info, kept)],
    )


async def _refusals(connection: Connection) -> list[str]:
    for command in (
        ("EVAL", PROBE, 1, PROBE_KEY),
        ("XREVRANGE", PROBE_KEY, "+", "-", "COUNT", 1),
        ("XREAD", "COUNT", 1, "STREAMS", PROBE_KEY, "0"),
    ):
        try:
            await connection.call(*command, seconds=_SECONDS)
        except Refused as error:
            return [f"it refuses what the service does there: {error}"]
    return []


def _doubts(info: dict[str, Any], kept: list[Any]) -> Iterator[str]:
    if not info.get("maxmemory"):
        yield "maxmemory is not set, so it grows until the system kills it"
    elif info.get("maxmemory_policy") == "noeviction":
        yield "maxmemory-policy is noeviction: once full it shares nothing new"
    lists = [answer for answer in kept if isinstance(answer, list)]
    saved = [value for names_and_values in lists for value in names_and_values[1::2]]
    if info.get("aof_enabled") or any(value not in (b"", b"no") for value in saved):
        yield "it writes to its disk; nothing in it is worth that (save, appendonly)"


async def _answer(connection: Connection, *command: str) -> Any:
    try:
        return await connection.call(*command, seconds=_SECONDS)
    except Refused:
        return None
