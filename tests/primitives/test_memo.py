"""What is remembered of a function."""

from aims_server.primitives import Memo


def test_a_value_is_worked_out_once():
    """Looking it up again asks the function no more."""
    asked = []
    lengths = Memo(lambda text: asked.append(text) or len(text), most=10)
    assert [lengths["ab"], lengths["ab"]] == [2, 2]
    assert asked == ["ab"]


def test_no_more_than_the_limit_are_remembered():
    """However many keys are looked up."""
    squares = Memo(lambda number: number**2, most=10)
    for number in range(25):
        assert squares[number] == number**2
        assert len(squares) <= 10
