"""The words that labels may hold."""

from aims_server import errors
from aims_server.metrics import labels


def test_an_outcome_of_a_call_is_a_code_of_the_error_tree():
    """The words for failed calls are those that clients are told."""
    codes = {thing.code for thing in vars(errors).values() if hasattr(thing, "code")}
    assert set(labels.OUTCOMES) - codes == {"ok", "cancelled"}
