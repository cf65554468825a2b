"""Declares a variable of the settings as a struct's field; parses and formats it."""

import re
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import fields, replace

from .parsers import Parser

__all__ = ["Variable", "setting", "variables_of"]

_MASK: Final = "***"


class Variable(Struct, frozen=True):
    """One row of the table: a variable, and the field that it fills."""

    default: str
    parser: Parser[Any]
    meaning: str
    secret: bool
    name: str = ""
    field: str = ""

    def __call__(self) -> object:
        """The default value, as the factory of the field's default."""
        return self.parser.parse(self.default)

    def parse(self, text: str) -> object:
        """Parse the field's value; an empty text means the default.

        Raises ValueError for anything but what the parser allows.
        """
        if not text.isprintable():  # control characters and undecodable bytes
            raise ValueError(text)
        return self.parser.parse(text.strip() or self.default)

    def fault(self, text: str, cause: BaseException | None = None) -> str:
        """One line that says what `text` should have been, and why the file that it
        names cannot be read.
        """
        wrong = self.parser.wrong_part(text)
        shown = _MASK if self.secret else ascii(_without_credentials(wrong)[:80])
        why = f" ({cause.strerror})" if isinstance(cause, OSError) else ""
        return f"{self.name}={shown}: must be {self.parser.allowed}{why}"

    def format(self, value: object) -> str:
        """`value` as it is written in a file; masked if it is a secret."""
        match value:
            case None:
                return ""
            case _ if self.secret:
                return _MASK
            case bool():
                return str(value).lower()
            case float():
                return str(value).removesuffix(".0")
            case tuple():
                return ",".join(map(str, value))
        return _without_credentials(str(value))


def setting(
    default: str,
    parser: Parser[Any],
    meaning: str,
    *,
    name: str = "",
    secret: bool = False,
) -> Any:
    """Declare the field of a variable, whose name is the field's in capitals unless
    another ``name`` is given.
    """
    return field(default_factory=Variable(default, parser, meaning, secret, name))


def variables_of(table: type[Struct]) -> tuple[Variable, ...]:
    """The variables of a struct: its fields that are made by `setting`."""
    factories = ((row.name, row.default_factory) for row in fields(table))
    return tuple(
        replace(factory, field=name, name=factory.name or name.upper())
        for name, factory in factories
        if isinstance(factory, Variable)
    )


def _without_credentials(text: str) -> str:
    """Mask what could be a secret in a URL: user, password, everything after ? or #,
    and a password in the place of a port if the host is missing.
    """
    named = re.sub(r"(?s)^([A-Za-z0-9+]+://)?.*@", rf"\1{_MASK}@", text)
    named = re.sub(
        r"(?s)^((?:[A-Za-z0-9+]+://)?[\w.-]+:)(?!//|[0-9]*(?:[/?#,]|$)).*",
        rf"\1{_MASK}",
        named,
    )
    return re.sub(r"(?s)([?#]).*", rf"\1{_MASK}", named)
