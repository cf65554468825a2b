"""One subject's records counted, all steps of it at once."""

from collections.abc import Sequence

from aims_server.domain.days import SubjectDays, count_days
from aims_server.primitives import finish
from aims_server.upstream import Card, Note, ignore_oddity


def subject_days(
    cards: Sequence[Card], note: Note = ignore_oddity, *, complete: bool = True
) -> SubjectDays:
    """The days of these records."""
    return finish(count_days(cards, note, complete=complete))
