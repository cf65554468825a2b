"""Large data sets: how long one page of them holds everybody else up."""

from collections.abc import Iterator

from .footprint import grown
from .report import Row
from .turns import Pace

SIZES = ((15, 40), (50, 400), (50, 4000))


def scale(_: Pace) -> Iterator[Row]:
    """A page of so many subjects and records each: the worker's CPU time, the answer's
    time and the longest that its loop was held, as in growth; the goal is at most 10 ms
    of CPU time for all. docs/scale.rst has what it consists of.
    """
    for subjects, records in SIZES:
        yield grown(subjects, records, bounded=True)
