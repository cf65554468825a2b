"""Reads a cell of the month table: its texts, and by their colours whether the class
was held.

Tags are parsed by hand: with unclosed ones the standard library's HTMLParser takes 88
ms for a cell of 4 kB, this takes 0.5 ms, and "<![" makes HTMLParser raise.
"""

import html
import re
from typing import Final

__all__ = ["pieces_of"]

# One pass: an unclosed tag is text, an unclosed comment goes to the end, as in
# browsers.
_PIECE: Final = (
    r"(?s:<!--.*?(?:-->|\Z)|<[!?][^<>]*+>"
    r"|<(?P<end>/?)(?P<tag>[A-Za-z][\w-]*+)(?P<attributes>[^<>]*+)>"
    r"|(?P<text>[^<]+|<))"
)
_STYLE: Final = r"(?i:\bstyle\s*=\s*)(?:\"([^\"]*)|'([^']*)|([^\s\"']+))"
_COLOUR: Final = r"(?i:(?:^|;)\s*color\s*:\s*(#?\w+))"
_HELD: Final = {
    **dict.fromkeys(("green", "#008000"), True),
    **dict.fromkeys(("red", "#ff0000"), False),
}


def pieces_of(cell: str) -> list[tuple[str, bool | None]]:
    """The texts of a cell, each with whether its class was held; None without a colour.

    >>> pieces_of('<b style="color:green">09:40-10:30</b><br>Holiday')
    [('09:40-10:30', True), ('Holiday', None)]
    """
    opened: list[tuple[str, bool | None]] = []
    joined: list[tuple[str, bool | None]] = []
    for piece in re.finditer(_PIECE, cell):
        held = opened[-1][1] if opened else None
        tag, text = piece["tag"], piece["text"]
        if text is not None:
            if joined and joined[-1][1] is held:
                text = f"{joined.pop()[0]} {text}"  # "Room 1", then "2:00 - 2:50"
            joined.append((text, held))
        elif piece["end"]:
            _close(tag.lower(), opened)
        elif tag is not None:
            opened.append((tag.lower(), _held(piece["attributes"], held)))
    return [(" ".join(html.unescape(text).split()), held) for text, held in joined]


def _close(tag: str, opened: list[tuple[str, bool | None]]) -> None:
    """End the last open element of this name, if any, and all elements in it."""
    for at in range(len(opened) - 1, -1, -1):
        if opened[at][0] == tag:
            del opened[at:]
            return


def _held(attributes: str, around: bool | None) -> bool | None:
    """Whether the class was held by an element's colour, else by that around it."""
    style = re.search(_STYLE, attributes)
    text = html.unescape("".join(filter(None, style.groups()))) if style else ""
    colour = re.search(_COLOUR, text)
    return _HELD.get(colour[1].lower()) if colour else around
