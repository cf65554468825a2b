"""How the platform may feel, by name: sets of faults that a person can choose from."""

from typing import Any, Final, NamedTuple

__all__ = ["MOODS", "Mood"]


class Mood(NamedTuple):
    """A choice: what a person is told of it, and the knobs it turns everywhere."""

    what: str
    knobs: dict[str, Any]


# Milder than the real days that they stand for, so that a demo is over soon: the
# platform takes 0.2 to 0.5 s a call on a good day and 10 s on a bad one.
MOODS: Final = {
    "calm": Mood("Well: it answers in a fifth of a second.", {"delay": 0.2}),
    "slow": Mood("Slow: it takes three seconds for each call.", {"delay": 3.0}),
    "hanging": Mood(
        "Hanging: one call in ten never ends.",
        {"delay": 0.2, "kind": "hang", "share": 0.1},
    ),
    "ill": Mood("Ill: it answers every call with an error.", {"kind": "status"}),
}
