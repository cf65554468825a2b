"""Odd shapes of rows, each made from good ones: what broke clients of such platforms.

None was seen of this platform. `Switches.shapes` names those that it sends.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import date, timedelta
from typing import Any, Final, TypeAlias

__all__ = ["CARD_SHAPES", "COURSE_SHAPES", "shaped"]

Rows: TypeAlias = list[Any]
Shape: TypeAlias = Callable[[Rows], Rows]


def shaped(rows: Rows, names: tuple[str, ...], shapes: Mapping[str, Shape]) -> Rows:
    """Return the rows in those of the named shapes that are among these."""
    for name in names:
        if name in shapes:
            rows = shapes[name](deepcopy(rows))
    return rows


def _first_summary(summary: Any) -> Shape:
    def shape(rows: Rows) -> Rows:
        rows[0]["attendance_summary"] = summary
        return rows

    return shape


def _first_counts(change: Callable[[str, int], Any]) -> Shape:
    """Change the counts of the first course."""

    def shape(rows: Rows) -> Rows:
        summary = rows[0]["attendance_summary"]
        for key in ("Present", "Total"):
            summary[key] = change(key, summary[key])
        return rows

    return shape


def _each(change: Callable[[dict[str, Any]], None]) -> Shape:
    def shape(rows: Rows) -> Rows:
        for row in rows:
            change(row)
        return rows

    return shape


def _negative(rows: Rows) -> Rows:
    rows[0]["attendance_summary"]["Absent"] = -1
    return rows


def _surplus(rows: Rows) -> Rows:
    """More present than held, so that one fewer than none was absent."""
    summary = rows[0]["attendance_summary"]
    summary["Present"], summary["Absent"] = summary["Total"] + 1, -1
    return rows


def _naming(rows: Rows) -> Rows:
    rows[0]["cdata"] = []
    return rows


def _nameless(rows: Rows) -> Rows:
    rows[0]["cdata"]["course_name"] = " "
    return rows


def _html_name(row: dict[str, Any]) -> None:
    if "course_name" in row["cdata"]:
        code = row["cdata"]["course_code"]
        row["cdata"]["course_name"] = f"<b>Signals &amp;\xa0Systems</b> {code}"


def _strange(rows: Rows) -> Rows:
    return [None, *rows[:1], "x", [], {"id": None}, {"cdata": []}, *rows[1:]]


def _twin(rows: Rows) -> Rows:
    twin = deepcopy(rows[0])
    twin["id"] = 7_299_999
    twin["attendance_summary"] = {
        **dict.fromkeys(("Present", "Absent", "Exempt", "Leave", "Total"), 0),
        "Percent": "NaN%",
    }
    return [twin, *rows]


def _shout(rows: Rows) -> Rows:
    rows[-1]["cdata"]["course_code"] = " TOTAL "
    return rows


def _correct(rows: Rows) -> Rows:
    """Absent first, leave later: a second record for the slot of the last one."""
    later = [
        {**row, "id": 99, "state": "Leave", "status": "Leave"} for row in rows[-1:]
    ]
    return rows + later


def _rename_mark(row: dict[str, Any]) -> None:
    row["attendance_status"] = row.pop("state")
    del row["status"]


def _set_mark(table: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    def change(row: dict[str, Any]) -> None:
        row["state"] = row["status"] = table.get(row["state"], row["state"])

    return change


def _date_worded(change: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
    def shape(row: dict[str, Any]) -> None:
        row["start_time"] = None
        row["date_formatted"] = change(row["date_formatted"] or "")

    return shape


def _utc(row: dict[str, Any]) -> None:
    # Midnight of the day in India, which is 18:30 of the day before. Only the end is
    # always a date.
    before = date.fromisoformat(row["end_time"][:10]) - timedelta(days=1)
    row["start_time"] = f"{before}T18:30:00.000000Z"


def _epoch(rows: Rows) -> Rows:
    if rows:
        rows[0]["start_time"] = "1970-01-01 05:30:00"
    return rows


_SHORT: Final = {"Present": "P", "Absent": "A", "Leave": "L"}

COURSE_SHAPES: Final[dict[str, Shape]] = {
    "counts_gone": _first_summary({"Percent": "66.67%"}),
    "counts_null": _first_summary(None),
    "counts_array": _first_summary([]),
    "counts_dash": _first_counts(lambda _, __: "-"),
    "counts_text": _first_counts(lambda _, count: f"{count}.00"),
    "counts_thousands": _first_counts(lambda _, count: f"{1000 + count:,}"),
    "counts_half": _first_counts(lambda key, n: n + 0.5 if key == "Present" else n + 1),
    "counts_negative": _negative,
    "counts_surplus": _surplus,
    "naming_array": _naming,
    "nameless": _nameless,
    "html_names": _each(_html_name),
    "strange_rows": _strange,
    "empty_twin": _twin,
    "total_shouted": _shout,
    "total_first": lambda rows: [rows[-1], *rows[:-1]],
    "no_courses": lambda _: [],
}
CARD_SHAPES: Final[dict[str, Shape]] = {
    "marks_renamed": _each(_rename_mark),
    "marks_short": _each(_set_mark(_SHORT)),
    "marks_duty_leave": _each(_set_mark({"Leave": "Duty Leave"})),
    "marks_blank": _each(_set_mark(dict.fromkeys((*_SHORT, "Exempt")))),
    "records_gone": lambda _: [],
    "records_twice": lambda rows: [row for row in rows for _ in range(2)],
    "records_corrected": _correct,
    "records_strange": lambda rows: [None, *rows, "x", {}] if rows else rows,
    "dates_dashed": _each(_date_worded(lambda text: text.replace("/", "-"))),
    "dates_utc": _each(_utc),
    "dates_sept": _each(_date_worded(lambda text: text.replace("Sep", "Sept"))),
    "dates_adjusted": _each(_date_worded(lambda text: f"{text} (Adjusted)")),
    "dates_epoch": _epoch,
    "dates_typed": _each(lambda row: row.update(start_time=[row["start_time"]])),
    "dates_worded_only": lambda rows: _each(_date_worded(str))(rows)[::-1],
}
