"""What is not known of the real platform, each a switch with its assumed default."""

from typing import Literal

import msgspec

from .shapes import CARD_SHAPES, COURSE_SHAPES

__all__ = ["ASSUMED", "Switches"]


class Switches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every value is an assumption: see what is not known in docs/platform.rst 9."""

    wrong_password_status: int = 401
    wrong_password_msg: str = "Invalid username or password"
    wrong_password_body: str | None = None
    """Sent instead of ``{"status":0,"msg":wrong_password_msg}``."""

    bad_token: Literal["401", "403", "200", "400"] = "401"
    """401 and 403 in JSON; 200 with ``{"status":0,…}``; 400 with ``{"error":…}``."""

    answers_for: int | None = None
    """The student (by id) whose data every good token is given, whoever it names."""

    required_origin: str | None = None
    """The `Origin` without which authenticate answers 403."""

    read_others: bool = False
    """Whether a token may read another student's cards."""

    percent_at_zero: str | None = "0%"
    """`Percent` of a course without a class; "NaN%" and null are feared too."""

    percent_as_number: bool = False
    ids_as_text: bool = False
    leave_in_total: bool = True
    """Whether `Total` counts Leave and Exempt, as the one capture has it."""

    extra_states: tuple[str, ...] = ()
    """Names that records marked Exempt have in turn, instead of "Exempt"."""

    cf_id: bool = False
    """Whether a course file carries `cf_id` beside `id`."""

    start_time_separator: Literal[" ", "T"] = " "
    unreadable_dates: float = 0.0
    """Share of the records whose date no one can read."""

    students_in_records: bool = False
    """Whether a record names its student (`fk_student`)."""

    records_for: int | None = None
    """The student (by id) whom such records name, whoever asked."""

    shapes: tuple[str, ...] = ()
    """Odd shapes that rows come in (see `shapes`), one after the other."""

    schedule_cells: Literal["divs", "joined", "array"] = "divs"
    """A cell's slots: an element each, texts run together, or a list of elements."""

    page_size: int | None = None
    """Records of a page of /cards; None: all of them, as far as anybody has seen."""

    obeys_page: bool = True
    """Whether `&page=2` leads to page 2; else every page is the first."""

    prefix: str = ""
    """What stands before every JSON body: a byte order mark, a warning of PHP's."""

    latin_1: bool = False
    """Whether texts that are not ASCII come in Latin-1 in spite of JSON."""

    gzip: bool = False
    """Whether answers are compressed for clients that accept it."""

    def __post_init__(self) -> None:
        unknown = set(self.shapes) - COURSE_SHAPES.keys() - CARD_SHAPES.keys()
        if unknown:
            raise ValueError(f"no shapes {', '.join(sorted(unknown))}")


ASSUMED = Switches()
