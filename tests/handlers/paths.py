"""Where the students' pages are asked for."""

from aims_server import pages

PAGES = [page.path for page in pages.PAGES if not page.parameters]


def subject_path(student_id: int, cf_id: int, subject: str = "x") -> str:
    """The page of one course file's records."""
    query = f"subject={subject}&studentId={student_id}&cfId={cf_id}"
    return f"{pages.SUBJECT_ATTENDANCE.path}?{query}"
