"""Whatever bytes come: every decoder has a value of its type, or a BadShape."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aims_server.upstream.answers import (
    BadShape,
    CardsPage,
    CourseFiles,
    Quizzes,
    decode_cards,
    decode_course_files,
    decode_quizzes,
    read_login,
)
from aims_server.upstream.answers.models import LoginBody

from .bodies import TOTAL_ROW, body_of, files_of, row, summary

DECODERS: dict[Any, type] = {
    decode_course_files: CourseFiles,
    decode_cards: CardsPage,
    decode_quizzes: Quizzes,
    read_login: LoginBody,
}
DEEP = b"[" * 10_000 + b"]" * 10_000
BROKEN = {
    "nothing": b"",
    "html": b"<!DOCTYPE html><html></html>",
    "truncated": body_of([row(), TOTAL_ROW])[:-20],
    "two values": body_of([row()]) + b"{}",
    "deep where it is read": b'{"response":' + DEEP + b',"token":' + DEEP + b"}",
    "deep where it is skipped": b'{"response":{"data":[]},"x":' + DEEP + b"}",
    "deep and unfinished": b'{"x":' + b'{"y":' * 100_000,
    "NaN": b'{"response":{"data":[]},"token":NaN}',
    "NaN where it is skipped": b'{"response":{"data":[]},"x":NaN}',
    "infinity": b'{"response":{"data":[]},"x":-Infinity}',
    "a raw NUL": b'{"response":{"data":[]},"x":"\x00"}',
}


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_sound_json_is_refused(decode, body):
    """Broken, hostile or foreign bodies raise BadShape, even in unknown fields."""
    with pytest.raises(BadShape):
        decode(body)


@pytest.mark.parametrize(
    "before", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf", b"\r\n\xef\xbb\xbf\n"]
)
def test_a_byte_order_mark_is_skipped(before):
    """Each of PHP's files may send one, and blank lines; it is noted."""
    notes = []
    body = before + body_of([row()])
    files = decode_course_files(body, lambda kind, _: notes.append(kind))
    assert files == files_of(row())
    assert notes == ["encoding"]
    assert decode_quizzes(b"\xef\xbb\xbf{}").body == b"{}"


def test_what_is_not_utf8_becomes_the_replacement_character():
    """One name's bytes cost nobody the page; they are noted."""
    notes = []
    latin = body_of([row(section="@")]).replace(b"@", "\xe9".encode("latin-1"))
    files = decode_course_files(latin, lambda kind, _: notes.append(kind))
    assert (files.section, notes) == ("\ufffd", ["encoding"])
    assert decode_quizzes(b'{"msg":"\xff"}').body == '{"msg":"\ufffd"}'.encode()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (r"Lab \ud83d", "Lab \ufffd"),
        (r"\uDE00Lab", "\ufffdLab"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\\ud83d", r"\ud83d"),
        (r"\\\ud83d", "\\\ufffd"),
    ],
)
def test_half_a_surrogate_pair_becomes_the_replacement_character(sent, shown):
    """A text that was cut within an emoji costs nobody the page; nor does it where
    nobody reads it. A half is noted.
    """
    notes = []
    body = body_of([row(section="@")]).replace(b"@", sent.encode())
    files = decode_course_files(body, lambda kind, _: notes.append(kind))
    assert files.section == shown
    assert notes == ["encoding"] * ("\ufffd" in shown)
    assert decode_course_files(body.replace(b"section", b"unknown")).courses
    assert json.loads(decode_quizzes(body).body)


@pytest.mark.parametrize(
    "value", [b"9" * 30, b"9" * 4000, b"-1", b"1e300", b"1e400", b"-1e400"]
)
def test_numbers_out_of_all_measure_are_no_counts(value):
    """What a browser could not hold exactly is not taken for a count."""
    body = body_of([row(attendance_summary=summary(Present="@"))])
    files = decode_course_files(body.replace(b'"@"', value))
    assert files.courses[0].counts is None


fields = st.sampled_from(["response", "data", "cdata", "token"]) | st.sampled_from(
    ["attendance_summary", "id", "student_id", "state", "status", "Present", "Total"]
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["Total", "Present", "5", "68.42%"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=4)
    ),
    max_leaves=12,
)
mutated_rows = st.fixed_dictionaries(
    {
        "id": json_values | st.integers(0, 2**53 - 1),
        "cdata": json_values | st.just({"course_code": "Total"}),
        "attendance_summary": json_values | st.just(summary()),
        "student_id": json_values,
        "state": json_values,
        "status": json_values,
        "start_time": json_values,
    }
)


@settings(max_examples=100)
@given(
    st.binary(max_size=80)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.lists(mutated_rows | st.just(row()), max_size=3).map(body_of)
)
def test_decoding_raises_nothing_but_bad_shape(body):
    """Whatever bytes come, there is a value of the promised type or a BadShape."""
    for decode, promised in DECODERS.items():
        with suppress(BadShape):
            assert isinstance(decode(body), promised)


@settings(max_examples=80)
@given(
    st.lists(st.integers(1, 9).map(lambda n: row(id=n)), min_size=1, max_size=4),
    mutated_rows | json_values,
    st.data(),
)
def test_an_odd_row_anywhere_changes_nothing_of_the_others(rows, odd, data):
    """Whatever breaks in one row, the others are read as if it were not there."""
    assume("NaN" not in json.dumps(odd) and "Infinity" not in json.dumps(odd))
    if isinstance(odd, dict):
        odd = odd | {"student_id": None}  # another student's would refuse them all
    at = data.draw(st.integers(0, len(rows)))
    plain = files_of(*rows).courses
    files = files_of(*rows[:at], odd, *rows[at:]).courses
    assert files[:at] == plain[:at]
    assert files[len(files) - len(plain) + at :] == plain[at:]
    assert len(files) - len(plain) in (0, 1)
