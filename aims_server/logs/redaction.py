"""What must not be read in a log: found wherever it stands, and taken out.

Tokens, passwords and PINs are known by their form or by the name before them. What is
left is something that JSON and UTF-8 can say.
"""

import re
from typing import Any, Final

__all__ = ["SCALARS", "may_hold_secret", "redact", "redact_text"]

SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_DEEPEST: Final = 8

# Not compiled yet: the first untrusted line has the time for it, a start has not.
_SECRET_NAME: Final = r"\w*(?:token|password|passwd|secret|authorization)|pin"
_SECRETS: Final = rf"""
      (?-i:eyJ) [\w%.+/=-]{{6,}}
    | (?P<scheme> \bbearer\s+ ) [^\s"',;]+
    | (?P<query> \b(?:{_SECRET_NAME}) (?:=|%3d) ) [^\s&]+
    | (?P<pair> (?P<quote>["']) (?:{_SECRET_NAME}) (?P=quote) \s*:\s* )
      (?: b?"(?:[^"\\]|\\.)*"? | b?'(?:[^'\\]|\\.)*'? | [^\s,}}\]]+ )
    """
_HINTS: Final = re.compile("eyj|bearer|token|passw|pin|secret|authoriz")


def may_hold_secret(text: str) -> bool:
    """Say whether a search for secrets is worth its time."""
    return _HINTS.search(text.lower()) is not None


def redact(value: Any, depth: int = 0) -> Any:
    """The same in what JSON can say, without secrets."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        if depth < _DEEPEST:
            return {
                redact_text(str(key)): (
                    "***"
                    if re.fullmatch(_SECRET_NAME, str(key), re.IGNORECASE) and item
                    else redact(item, depth + 1)
                )
                for key, item in value.items()
            }
    elif isinstance(value, list | tuple | set | frozenset):
        if depth < _DEEPEST:
            return [redact(item, depth + 1) for item in value]
    elif type(value) in SCALARS and (type(value) is not int or abs(value) < 2**63):
        return value
    elif isinstance(value, bytes | bytearray):
        return redact_text(value.decode(errors="backslashreplace"))
    return redact_text(str(value))


def redact_text(text: str) -> str:
    """``text`` without secrets and without what UTF-8 cannot say."""
    text = text.encode(errors="backslashreplace").decode()
    return re.sub(_SECRETS, _without_value, text, flags=re.IGNORECASE | re.VERBOSE)


def _without_value(match: re.Match[str]) -> str:
    kept = match["scheme"] or match["query"] or match["pair"] or ""
    return f"{kept}***"
