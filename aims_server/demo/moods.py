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
    "calm": Mood(
        "Well: it answers in about a fifth of a second.", {"delay": 0.2, "sigma": 0.3}
    ),
    "slow": Mood("Slow: it takes three seconds for each call.", {"delay": 3.0}),
    "tail": Mood(
        "Uneven: most calls take a third of a second, some take many.",
        {"delay": 0.3, "sigma": 1.2},
    ),
    "hanging": Mood(
        "Hanging: one call in twenty never ends.",
        {"delay": 0.2, "sigma": 0.3, "kind": "hang", "share": 0.05},
    ),
    "flaky": Mood(
        "Flaky: one call in five is answered with an error.",
        {"delay": 0.2, "sigma": 0.3, "kind": "status", "share": 0.2},
    ),
    "crowded": Mood(
        "Crowded: it answers twenty calls at a time, the others wait.",
        {"delay": 0.2, "room": 20},
    ),
    "ill": Mood("Ill: it answers every call with an error.", {"kind": "status"}),
}
