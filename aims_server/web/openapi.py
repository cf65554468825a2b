"""Gives the service's OpenAPI document as ready bytes; it serves nothing itself.

``openapi.yaml`` is the document as it is written and read, ``openapi.json`` the same
for machines, made from it by ``make openapi``: so no YAML is read at run time.
"""

from pathlib import Path
from typing import Final

__all__ = ["DOCUMENT", "load_openapi"]

DOCUMENT: Final = Path(__file__).with_name("openapi.json")


def load_openapi() -> bytes:
    """Read the document: compact JSON in UTF-8."""
    return DOCUMENT.read_bytes()
