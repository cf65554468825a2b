"""A cell of the month table: its texts, each with what its colour says of the class.

The parser is the standard library's: it never fails, knows entities and unclosed tags,
and a cell is a fragment of two or three elements, for which a tree would be too much.
"""

import re
from html.parser import HTMLParser
from typing import Final

__all__ = ["pieces_of"]

_COLOUR: Final = r"(?i:(?:^|;)\s*color\s*:\s*(#?\w+))"
_HELD: Final = {
    **dict.fromkeys(("green", "#008000"), True),
    **dict.fromkeys(("red", "#ff0000"), False),
}


def pieces_of(cell: str) -> list[tuple[str, bool | None]]:
    """The texts of a cell, and whether its class was held; None where no colour says.

    >>> pieces_of('<b style="color:green">09:40-10:30</b><br>Holiday')
    [('09:40-10:30', True), ('Holiday', None)]
    """
    reader = _CellReader()
    reader.feed(cell)
    reader.close()
    return reader.pieces()


class _CellReader(HTMLParser):
    """Collects a cell's texts, each with what the colour of its element says."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, bool | None]] = []
        self._texts: list[tuple[str, bool | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._texts.append((" ", self._held))
            return
        style = dict(attrs).get("style") or ""
        colour = re.search(_COLOUR, style)
        held = _HELD.get(colour[1].lower()) if colour else self._held
        self._open.append((tag, held))

    def handle_endtag(self, tag: str) -> None:
        # Up to the element that this ends; an end without a start ends nothing.
        for at in range(len(self._open) - 1, -1, -1):
            if self._open[at][0] == tag:
                del self._open[at:]
                return

    def handle_data(self, data: str) -> None:
        self._texts.append((data, self._held))

    @property
    def _held(self) -> bool | None:
        return self._open[-1][1] if self._open else None

    def pieces(self) -> list[tuple[str, bool | None]]:
        """The texts, those of one colour that follow each other put together."""
        joined: list[tuple[str, bool | None]] = []
        for text, held in self._texts:
            if joined and joined[-1][1] is held:
                joined[-1] = (joined[-1][0] + text, held)
            else:
                joined.append((text, held))
        return [(" ".join(text.split()), held) for text, held in joined]
