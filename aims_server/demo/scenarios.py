"""Scenarios by name: sets of faults that a person can choose from."""

from typing import Any, Final, NamedTuple

__all__ = ["SCENARIOS", "Scenario"]


class Scenario(NamedTuple):
    """Its description for a person, and the knobs that it sets for every endpoint."""

    what: str
    knobs: dict[str, Any]


# Milder than the real days that they stand for, so that a demo is over soon: the
# platform takes 0.2 to 0.5 s a call on a good day and 10 s on a bad one.
SCENARIOS: Final = {
    "calm": Scenario(
        "Calm: it answers in about a fifth of a second.", {"delay": 0.2, "sigma": 0.3}
    ),
    "slow": Scenario("Slow: it takes three seconds for each call.", {"delay": 3.0}),
    "tail": Scenario(
        "Uneven: most calls take a third of a second, some take many.",
        {"delay": 0.3, "sigma": 1.2},
    ),
    "hanging": Scenario(
        "Hanging: one call in twenty never ends.",
        {"delay": 0.2, "sigma": 0.3, "kind": "hang", "share": 0.05},
    ),
    "flaky": Scenario(
        "Flaky: one call in five is answered with an error.",
        {"delay": 0.2, "sigma": 0.3, "kind": "status", "share": 0.2},
    ),
    "crowded": Scenario(
        "Crowded: it answers twenty calls at a time, the others wait.",
        {"delay": 0.2, "capacity": 20},
    ),
    "failing": Scenario(
        "Failing: it answers every call with an error.", {"kind": "status"}
    ),
}
