"""The letters of a text as they are seen, whatever they were typed or pasted as."""

import unicodedata

__all__ = ["visible"]


def visible(text: str) -> str:
    r"""Return the text without invisible characters, in letters of usual width.

    >>> visible("\uff30re\u00adsent\u200b")
    'Present'
    """
    if text.isascii():
        return text
    letters = unicodedata.normalize("NFKC", text)
    return "".join(c for c in letters if unicodedata.category(c) != "Cf")
