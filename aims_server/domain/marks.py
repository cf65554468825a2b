"""The marks of a class by one table: present, absent, leave, or none of the three."""

from typing import Final, Literal

from ..primitives import Memo, visible

__all__ = ["MARKS", "Mark", "mark_of"]

# Plain text, since an Enum's members take three times as long to look up, and a page
# has hundreds of marks.
Mark = Literal["present", "absent", "leave", "other"]
"""What a state counts as; "other" (Exempt, Adjusted) in none of the three."""

_TABLE: Final[dict[str, Mark]] = {
    "present": "present",
    "p": "present",
    "absent": "absent",
    "a": "absent",
    "l": "leave",
}


def mark_of(state: str) -> Mark:
    """Return the mark of a state, in any case and in every form of its letters.

    >>> [mark_of(state) for state in ("Present", "a", "Duty Leave", "Exempt")]
    ['present', 'absent', 'leave', 'other']
    """
    words = visible(state).strip().lower()
    if words.endswith("leave"):  # "Duty Leave", "MEDICALLEAVE"
        return "leave"
    return _TABLE.get(words, "other")


MARKS: Final = Memo(mark_of, most=256)
"""The marks of all states, remembered."""
