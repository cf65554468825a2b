"""Removes duplicates from a subject's records and sorts them, in small steps."""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Final, TypeAlias

from ..primitives import Steps
from ..upstream import Card, Note
from .dates import NO_TIME, when
from .marks import MARKS, Mark

__all__ = ["RECORDS_A_STEP", "by_time", "distinct", "in_steps"]

RECORDS_A_STEP: Final = 250
"""Counting so many takes 0.1 ms, or 1 ms if all their dates are new."""

_Place: TypeAlias = tuple[str, int, str, str, str, str]
_RANKS: Final[dict[Mark, int]] = {"other": 0, "absent": 1, "leave": 2, "present": 3}


def in_steps(cards: Sequence[Card]) -> Iterator[Sequence[Card]]:
    """Yield as many records at a time as may be read in one step."""
    for first in range(0, len(cards), RECORDS_A_STEP):
        yield cards[first : first + RECORDS_A_STEP]


def distinct(cards: Sequence[Card], note: Note) -> Steps[list[Card]]:
    """Return the records with only one for each `id`.

    Of two that differ the later one stays; at equal times Present before Leave before
    Absent.
    """
    by_id: dict[int | str, Card] = {}
    others: list[Card] = []
    for step in in_steps(cards):
        for card in step:
            if not card.id:  # it cannot be known to be a duplicate
                others.append(card)
            elif card.id not in by_id:
                by_id[card.id] = card
            else:
                note("duplicate", "a record whose id came before")
                by_id[card.id] = max(by_id[card.id], card, key=_standing)
        yield
    return [*by_id.values(), *others]


def by_time(cards: Sequence[Card]) -> Steps[list[Card]]:
    """Return the records sorted by day and time of day; equal sets sort equally."""
    placed: list[tuple[_Place, Card]] = []
    for step in in_steps(cards):
        placed += [(_place(card), card) for card in step]
        yield
    placed.sort(key=itemgetter(0))
    return [card for _, card in placed]


def _standing(card: Card) -> tuple[str, int, int, _Place]:
    place = _place(card)
    day, minute, *_ = place
    known_minute = -1 if minute == NO_TIME else minute
    return day, known_minute, _RANKS[MARKS(card.state)], place


def _place(card: Card) -> _Place:
    day, minute = when(card.start_time, card.date_formatted)
    texts = card.start_time, card.state, card.date_formatted, card.faculty_name
    return (day, minute, *texts)
