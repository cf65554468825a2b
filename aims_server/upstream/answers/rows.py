"""Reads lists of rows from the envelope in which the platform sends them.

A sound list is decoded at once. If one row breaks its type, the list is read again row
by row and field by field: what can be read is kept, the rest is noted as an oddity. The
facts are in docs/platform.rst.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, Generic, TypeVar, cast, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from .fields import number
from .json_body import BadShape, any_object, utf8
from .messages import says_nothing_there
from .oddities import Note

__all__ = [
    "MOST_ROWS",
    "Envelope",
    "Rows",
    "find_rows",
    "loose",
    "read_list",
    "read_rows",
]

_T = TypeVar("_T")
# A course has some hundred records. As many odd ones as fit into 8 MiB, the largest
# answer, took 12 s, in which no other student's long list was read.
MOST_ROWS: Final = 20_000
# Looking them up each time takes half of an odd row's time. To mypy, type[Any] is not
# hashable.
_fields = cast("Callable[[type[Any]], tuple[FieldInfo, ...]]", cache(fields))


class Paging(Struct, frozen=True):
    """The fields that Laravel's paginator adds beside or around the rows. Its resources
    have the numbers in ``meta`` and the links in ``links``, Fractal's both in the
    ``pagination`` of ``meta``.
    """

    last_page: object = None
    next_page_url: object = None
    total: object = None
    meta: object = None
    pagination: object = None
    links: object = None


class Response(Paging, Generic[_T], frozen=True, kw_only=True):
    """The inner half of the envelope."""

    data: list[_T]


class Envelope(Paging, Generic[_T], frozen=True, kw_only=True):
    """The envelope of every list of rows."""

    response: Response[_T]


class Rows(Struct, Generic[_T], frozen=True):
    """A decoded list, and the numbers of pages and rows that the answer states.

    `pages` and `total` are None if it states none; `more`: it links to a next page.
    `sent` is the number of rows, with those that were left out.
    """

    rows: list[_T]
    sent: int
    pages: int | None
    total: int | None
    more: bool


def read_list(
    body: bytes,
    decoders: Sequence[msgspec.json.Decoder[Any]],
    kind: type[Any],
    note: Note,
    *,
    most: int,
) -> list[Any]:
    """As `read_rows`, for a list that the platform sends whole; notes an oddity if the
    answer says that there are more rows.
    """
    had = read_rows(body, decoders, kind, note, most=most)
    if had.more or (had.pages or 0) > 1 or (had.total or 0) > had.sent:
        note("pages", f"{had.sent} rows had, more announced")
    return had.rows


def read_rows(
    body: bytes,
    decoders: Sequence[msgspec.json.Decoder[Any]],
    kind: type[Any],
    note: Note,
    *,
    most: int = MOST_ROWS,
) -> Rows[Any]:
    """Decode a list of rows with the first decoder (of an Envelope) that accepts it.

    If none does, the rows that `find_rows` finds become structs of `kind` one by one.
    An answer without a list is an empty list if its message says that there is nothing.
    Raises BadShape if there is no list, if it has more than `most` rows, or if no row
    is an object.
    """
    body = utf8(body, note)
    for decoder in decoders:
        try:
            answer = decoder.decode(body)
        except msgspec.ValidationError:
            continue
        except (ValueError, RecursionError):
            break
        rows = answer.response.data
        _check_number(rows, most)
        return _rows(rows, len(rows), (answer.response, answer))
    return _read_loosely(body, kind, note, most)


def _read_loosely(body: bytes, kind: type[Any], note: Note, most: int) -> Rows[Any]:
    answer = any_object(body)
    data, around = find_rows(answer, most)
    if not data and says_nothing_there(body):
        data = []
    if not isinstance(data, list):
        raise BadShape(f"a {type(data).__name__} where the rows belong")
    rows = []
    for row in data:
        if isinstance(row, dict):
            rows.append(loose(row, kind, note))
        else:
            note("row", f"a {type(row).__name__} where a row belongs")
    if data and not rows:
        raise BadShape("no row is an object")
    paging = [msgspec.convert(part, Paging) for part in reversed(around)]
    return _rows(rows, len(data), paging)


def find_rows(
    answer: dict[str, Any], most: int = MOST_ROWS
) -> tuple[Any, list[dict[str, Any]]]:
    """Return the value where the rows belong, a list in a sound answer, and the objects
    around it. Accepts a list without its envelope, a paginator's page in place of its
    list, null for an empty list, and an object for a list with gaps, as PHP writes it.
    Raises BadShape for a list of more than `most` rows.
    """
    around = [answer]
    inner, data = answer.get("response"), answer.get("data")
    if isinstance(data, list | dict) and not (inner and _may_have_rows(inner)):
        inner = data  # `response` has words of its own, or nothing
    while isinstance(inner, dict) and "data" in inner:
        around.append(inner)
        inner = inner["data"]
    if inner is None and isinstance(data, list):
        inner = data  # beside an envelope of nothing
    if len(around) > 1 and inner in (None, {}):
        inner = []
    if inner and isinstance(inner, dict) and _may_have_rows(inner):
        inner = list(inner.values())
    if isinstance(inner, list):
        _check_number(inner, most)
    return inner, around


def _may_have_rows(part: Any) -> bool:
    if isinstance(part, dict):
        return "data" in part or all(map(str.isdecimal, part))
    return isinstance(part, list)


def _check_number(rows: list[Any], most: int) -> None:
    if len(rows) > most:
        raise BadShape(f"{len(rows)} rows")


def loose(row: dict[str, Any], kind: type[Any], note: Note) -> Any:
    """Make a struct of the fields with the right type; the others keep their defaults.

    With the `kind` dict the row stays as it is.
    """
    if kind is dict:
        return row
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError:
        pass
    known: dict[str, Any] = {}
    for field in _fields(kind):
        if field.encode_name not in row:
            continue
        sent = row[field.encode_name]
        try:
            known[field.name] = msgspec.convert(sent, field.type)
        except msgspec.ValidationError:
            within = _struct_of(field.type)
            if within is not None and isinstance(sent, dict):
                known[field.name] = loose(sent, within, note)
            elif sent is not None:
                shape = f"{kind.__name__}.{field.encode_name}: {type(sent).__name__}"
                note("type", shape)
    return kind(**known)


def _struct_of(kind: Any) -> type[Any] | None:
    for option in (kind, *get_args(kind)):
        if isinstance(option, type) and issubclass(option, Struct):
            return option
    return None


def _rows(rows: list[Any], sent: int, paging: Sequence[Paging]) -> Rows[Any]:
    pages = total = None
    more = False
    said = list(paging)
    for each in said:
        within = each.meta or each.pagination
        if isinstance(within, dict):
            said.append(msgspec.convert(within, Paging))  # it has the last word
        if each.last_page is not None:
            pages = _count(each.last_page)
        if each.total is not None:
            total = _count(each.total)
        links = each.links
        if each.next_page_url or (isinstance(links, dict) and links.get("next")):
            more = True
    return Rows(rows, sent, pages, total, more)


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    read = number(value)
    return read if isinstance(read, int) and read >= 0 else None
