"""What is remembered of a function."""

from aims_server.primitives import Memo


def test_a_value_is_worked_out_once():
    """Looking it up again asks the function no more."""
    asked: list[str] = []

    def length(text: str) -> int:
        asked.append(text)
        return len(text)

    lengths = Memo(length, most=10)
    assert [lengths("ab"), lengths("ab"), lengths.known["ab"]] == [2, 2, 2]
    assert asked == ["ab"]


def test_no_more_than_the_limit_are_remembered():
    """Any number of keys leaves at most the limit remembered."""
    upper = Memo(str.upper, most=10)
    for number in range(25):
        assert upper(f"a{number}") == f"A{number}"
        assert len(upper.known) <= 10


def test_a_long_text_is_not_remembered():
    """Its value is right all the same."""
    upper = Memo(str.upper, most=10)
    assert upper("a" * 201) == "A" * 201
    assert not upper.known
