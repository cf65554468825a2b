"""What the workers of a machine share is of a size that fits the settings."""

import pytest

from aims_server.app import Machine
from aims_server.config import Settings

KEPT = {
    "shared pages": ({"CACHE_SHARED_MB": "256"}, 20_000),
    "pages of each worker": (
        {"CACHE_SHARED_MB": "0", "CACHE_MAX_MB": "64", "WORKERS": "8"},
        30_000,
    ),
}


@pytest.mark.parametrize(("variables", "students"), KEPT.values(), ids=KEPT)
def test_no_student_whose_pages_have_room_loses_them_to_another(variables, students):
    """The epochs of all of them last, or their pages would be gathered again."""
    epochs = Machine(Settings.from_mapping(variables)).epochs
    begun = [epochs.begin(b"%032d" % student) for student in range(students)]
    assert all(map(epochs.keep, begun))
    assert all(map(epochs.is_current, begun))
