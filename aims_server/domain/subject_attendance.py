"""The page of one subject, day by day.

The page is docs/contract.rst 2.3 key by key; `msgspec.json.encode` makes it JSON.
"""

from msgspec import Raw, Struct

from .days import SubjectDays

__all__ = ["SubjectAttendance", "subject_attendance_page"]


class SubjectAttendance(Struct, frozen=True, gc=False, rename="camel"):
    """The page; `daily_attendance` is `SubjectDays.daily`."""

    subject: str
    student_id: int
    cf_id: int
    total_present: int
    total_absent: int
    total_leave: int
    total_records: int
    daily_attendance: Raw
    fetched_at: str


def subject_attendance_page(
    subject: str, student_id: int, cf_id: int, days: SubjectDays, fetched_at: str
) -> SubjectAttendance:
    """Make the page of one subject, under the name that the request gave it."""
    return SubjectAttendance(
        subject=subject,
        student_id=student_id,
        cf_id=cf_id,
        total_present=days.total_present,
        total_absent=days.total_absent,
        total_leave=days.total_leave,
        total_records=days.total_records,
        daily_attendance=days.daily,
        fetched_at=fetched_at,
    )
