"""The settings that only the demo command sets; no variable does."""

from msgspec import Struct

__all__ = ["Demo"]


class Demo(Struct, frozen=True):
    """What the student's page of a demo offers in addition."""

    students: tuple[dict[str, str], ...]
    """Invented students: ``name``, ``standing``, ``username``, ``password``."""

    control_url: str
    """The URL of the simulated platform's controls."""
