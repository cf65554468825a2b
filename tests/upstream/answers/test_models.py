"""The values that are kept: packed and unpacked."""

from hypothesis import given
from hypothesis import strategies as st

from aims_server.upstream.answers import (
    Counts,
    Course,
    CourseFiles,
    pack_course_files,
    unpack_course_files,
)

from .bodies import TOTAL_ROW, files_of, row

text = st.text(max_size=12)
whole = st.integers(min_value=0, max_value=2**53 - 1)
count = whole | st.integers(0, 999).map(lambda halves: halves + 0.5)
all_counts = st.builds(
    Counts, count, count, count, count, st.none() | text.filter(bool)
)
all_files = st.builds(
    CourseFiles,
    st.lists(
        st.builds(Course, whole, text, text, st.none() | all_counts), max_size=5
    ).map(tuple),
    st.none() | all_counts,
    st.none() | whole,
    text,
    text,
    text,
)


@given(all_files)
def test_packing_loses_nothing(files):
    """What is kept packed is unpacked equal."""
    assert unpack_course_files(pack_course_files(files)) == files


def test_packed_course_files_are_small():
    """Eighteen courses take less than 2 KiB of the cache."""
    files = files_of(*(row(id=n) for n in range(18)), TOTAL_ROW)
    assert len(pack_course_files(files)) < 2048
