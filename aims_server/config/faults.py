"""Faults of settings: the error that lists them, and conflicts of valid values."""

import math
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

__all__ = ["SettingsError", "conflicts"]


class SettingsError(Exception):
    """The settings cannot be used; `faults` has one line for every reason."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def conflicts(values: Mapping[str, Any]) -> Iterator[str]:
    """One line for each fault; ``values`` are by field, without those that are faulty
    alone.
    """
    workers = values.get("workers", 0)
    calls = values.get("max_concurrent_requests", workers)
    if workers > calls:
        yield (
            f"WORKERS='{workers}': must be at most MAX_CONCURRENT_REQUESTS, which is"
            f" {calls}, since each worker needs a call of its own"
        )
    if values.get("store_url") is not None:
        if values.get("store_secret", b"") is None:
            yield "STORE_SECRET: must be set where STORE_URL is"
        missing = [name for name in ("redis", "cryptography") if not find_spec(name)]
        if missing:
            yield (
                f"STORE_URL: needs {' and '.join(missing)}, which are not installed:"
                " pip install 'aims_server[store]'"
            )
    gather = values.get("gather_timeout_seconds", math.inf)
    request = values.get("request_timeout_seconds", 0.0)
    if gather < request:
        yield (
            f"GATHER_TIMEOUT_SECONDS='{gather:g}': must be at least"
            f" REQUEST_TIMEOUT_SECONDS, which is {request:g}"
        )
