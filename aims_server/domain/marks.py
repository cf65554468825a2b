"""Reads the mark of a class by one table: present, absent, leave, or none of these."""

from typing import Final, Literal

from ..primitives import Memo, visible

__all__ = ["MARKS", "Mark", "mark_of"]

# Plain text: a page has hundreds of marks, and looking up an Enum's member takes three
# times as long.
Mark = Literal["present", "absent", "leave", "other"]
"""What a state counts as; "other" (Exempt, Adjusted) is none of the three."""

_TABLE: Final[dict[str, Mark]] = {
    "present": "present",
    "p": "present",
    "absent": "absent",
    "a": "absent",
    "l": "leave",
}


def mark_of(state: str) -> Mark:
    """Return the mark of a state, written in any case and any form of letters.

    >>> [mark_of(state) for state in ("Present", "a", "Duty Leave", "Exempt")]
    ['present', 'absent', 'leave', 'other']
    """
    words = visible(state).strip().lower()
    if words.endswith("leave"):  # "Duty Leave", "MEDICALLEAVE"
        return "leave"
    return _TABLE.get(words, "other")


MARKS: Final = Memo(mark_of, most=256)
"""The marks of all states, remembered."""
