"""What the demo command adds to the settings; no variable sets it."""

from msgspec import Struct

__all__ = ["Demo"]


class Demo(Struct, frozen=True):
    """What the student's page of a demo offers beside its views."""

    students: tuple[dict[str, str], ...]
    """Invented ones: ``name``, ``standing``, ``username``, ``password``."""

    control_url: str
    """Where the simulated platform takes its controls."""
