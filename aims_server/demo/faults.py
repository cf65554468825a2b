"""The faults of each endpoint, and how often they occur, drawn from a seed."""

import math
from random import Random
from typing import Any, Literal, get_args

import msgspec

__all__ = ["ENDPOINTS", "EVERYWHERE", "Endpoint", "Fault", "Faults", "Kind"]

Endpoint = Literal[
    "authenticate",
    "course_files",
    "cards",
    "quizzes",
    "schedule",
]
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
EVERYWHERE = "*"

Kind = Literal[
    "status",
    "body",
    "html",
    "broken_json",
    "truncated_json",
    "wrong_types",
    "empty",
    "empty_body",
    "no_token",
    "nan",
    "bad_utf8",
    "deep_json",
    "large",
    "two_students",
    "rate_limited",
    "redirect",
    "reset",
    "reset_midway",
    "hang",
    "hang_midway",
    "trickle",
    "short_body",
    "close_before_answer",
    "bad_header",
    "huge_headers",
    "bad_chunk",
    "endless",
    "gzip_bomb",
    "bad_gzip",
    "answer_twice",
    "stray_408",
    "stray_crlf",
    "stray_garbage",
]


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The knobs of one endpoint; the delay is for every call, the rest for the kind."""

    delay: float = 0.0
    """Seconds before any answer, gone wrong or not."""

    jitter: float = 0.0
    """Up to so many seconds more, drawn evenly."""

    sigma: float = 0.0
    """Spread of the delay: the standard deviation of its logarithm, and ``delay`` is
    the median. Latencies of real services are about so distributed.
    """

    capacity: int | None = None
    """How many calls are answered at a time, while the others wait; None: all."""

    kind: Kind | None = None
    share: float = 1.0
    """Which part of the calls goes wrong, drawn for each."""

    count: int | None = None
    """How many calls go wrong before all is well again; None: no end."""

    match: str = ""
    """Only calls with this text in path and query go wrong."""

    status: int = 0
    """Status of "status" (0: 503), "html" and the broken bodies (0: 200)."""

    body: str = "{}"
    """What "body" answers, with status 200 unless another is named."""

    retry_after: str | None = None
    """`Retry-After` of "status" and "rate_limited", seconds or a date."""

    location: str | None = None
    """Where "redirect" leads; None: to this platform by another name."""

    interval: float = 1.0
    """Seconds between two bytes of "trickle", and from an answer to what follows it."""

    megabytes: int = 200
    """Size of "gzip_bomb" unpacked and of "large"."""


class Faults:
    """The knobs of all endpoints, and the draw of what each call gets."""

    def __init__(self, seed: int = 1) -> None:
        """Start with everything well."""
        self._draw = Random(f"{seed}/faults")
        self._knobs: dict[Endpoint, Fault] = {}
        self._left: dict[Endpoint, int] = {}
        self.clear()

    def set(self, endpoint: str = EVERYWHERE, **knobs: Any) -> None:
        """Turn some knobs (fields of Fault) of one endpoint or "*", leave the others.

        Naming a `kind` or a `count` starts the count anew. Raises ValueError
        (msgspec.ValidationError is one) for an unknown endpoint, knob or value.
        """
        for place in _places(endpoint):
            merged = msgspec.structs.asdict(self._knobs[place]) | knobs
            fault = msgspec.convert(merged, Fault)
            self._knobs[place] = fault
            if fault.count is None:
                self._left.pop(place, None)
            elif knobs.keys() & {"kind", "count"}:
                self._left[place] = fault.count

    def clear(self, endpoint: str = EVERYWHERE) -> None:
        """Turn all knobs back."""
        for place in _places(endpoint):
            self._knobs[place] = Fault()
            self._left.pop(place, None)

    def delay(self, endpoint: Endpoint) -> float:
        """Draw how many seconds the next call waits."""
        knobs = self._knobs[endpoint]
        delay = knobs.delay
        if knobs.sigma:
            delay *= math.exp(self._draw.gauss(0.0, knobs.sigma))
        return delay + (self._draw.random() * knobs.jitter if knobs.jitter else 0)

    def capacity(self, endpoint: Endpoint) -> int | None:
        """How many calls are to be answered at a time; None for any number."""
        return self._knobs[endpoint].capacity

    def next(self, endpoint: Endpoint, uri: str) -> Fault | None:
        """Draw what goes wrong with the next call, None for nothing."""
        fault = self._knobs[endpoint]
        if fault.kind is None or fault.match not in uri:
            return None
        if fault.share < 1 and self._draw.random() >= fault.share:
            return None
        left = self._left.get(endpoint)
        if left is not None:
            if left == 0:
                return None
            self._left[endpoint] = left - 1
        return fault

    def as_dict(self) -> dict[Endpoint, Fault]:
        """Return the knobs by endpoint."""
        return dict(self._knobs)


def _places(endpoint: str) -> tuple[Endpoint, ...]:
    if endpoint == EVERYWHERE:
        return ENDPOINTS
    found = tuple(place for place in ENDPOINTS if place == endpoint)
    if not found:
        raise ValueError(f"no endpoint {endpoint!r}; there are {', '.join(ENDPOINTS)}")
    return found
