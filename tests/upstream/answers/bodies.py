"""Bodies as the platform sends them, for the tests of their decoders."""

import json

from aims_server.upstream.answers import decode_course_files

TOTAL_ROW = {
    "cdata": {"course_code": "Total"},
    "attendance_summary": {"Percent": "83.02%", "Total": 159, "Present": 132},
}


def body_of(rows):
    """The rows in the platform's envelope."""
    return json.dumps({"msg": "", "response": {"data": rows}}).encode()


def row(**changes):
    """A course file as docs/platform.rst 2.2 has it, the given fields changed."""
    whole_row = {
        "id": 7300101,
        "cf_code": "18374_7293001_769_962__C",
        "batch": "2027",
        "section": "C",
        "faculty_name": "R SAMPLE",
        "dept": "IT",
        "semester": 5,
        "status": "InProgress",
        "cdata": {
            "course_code": "BCS503",
            "course_name": " Design and Analysis of\r\nAlgorithm Lab",
            "students_count_formatted": 69,
        },
        "student_id": 5900001,
        "entity": "CF",
        "attendance_summary": summary(),
    }
    return whole_row | changes


def summary(**changes):
    """The counts of a course file, the given ones changed."""
    counts = {"Present": 13, "Absent": 6, "Exempt": 0, "Leave": 0, "Total": 19}
    return counts | {"Percent": "68.42%"} | changes


def without(mapping, *names):
    """The mapping with fields left out."""
    return {name: value for name, value in mapping.items() if name not in names}


def files_of(*rows):
    """The rows, sent and decoded as course files."""
    return decode_course_files(body_of(rows))
