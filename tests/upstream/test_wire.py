"""The platform's loose values, its refusals, and the decoding of whatever comes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.upstream import wire
from aims_server.upstream.wire import BadShape


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (7300101, 7300101),
        ("7300101", 7300101),
        (" 19 ", 19),
        (19.0, 19),
        (0, 0),
        (None, None),
        ("  ", None),
        (2**53 - 1, 2**53 - 1),
        (str(2**53 - 1), 2**53 - 1),
    ],
)
def test_whole_numbers_are_read_in_every_form_they_are_sent_in(sent, meant):
    """A count or an id may be a number, a number in text, or not there."""
    assert wire.whole(sent) == meant


@pytest.mark.parametrize(
    "sent",
    ["x", "1_0", "+1", "-1", "1.0", "0x1", "٣", "²", "9" * 5000, str(2**53), 1.5],
)
def test_whole_refuses_what_is_no_whole_number(sent):
    """Text that `int` alone would misread, fractions and numbers too large are bad."""
    with pytest.raises(BadShape):
        wire.whole(sent)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("68.42%", "68.42%"),
        (" 80% ", "80%"),
        ("NaN%", "NaN%"),
        (68.42, "68.42%"),
        (66.666, "66.67%"),
        (80.0, "80%"),
        (100, "100%"),
        (0, "0%"),
        (None, None),
        (" ", None),
    ],
)
def test_a_percentage_is_the_platforms_text_or_its_number_worded_so(sent, shown):
    """Text is kept; a number gets two decimals at most and a percent sign."""
    assert wire.percent(sent) == shown


@pytest.mark.parametrize(
    ("present", "total", "shown"),
    [
        (13, 19, "68.42%"),
        (2, 3, "66.67%"),
        (132, 159, "83.02%"),
        (4, 5, "80%"),
        (31, 40, "77.5%"),
        (1, 1, "100%"),
        (0, 7, "0%"),
        (0, 0, "0%"),
        (1, 20_000, "0.01%"),
    ],
)
def test_a_computed_percentage_reads_like_the_platforms_own(present, total, shown):
    """Two decimals, half up, trailing zeros dropped; of no classes 0%."""
    assert wire.percent_of(present, total) == shown


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (
            "  Design and Analysis of\r\nAlgorithm  Lab ",
            "Design and Analysis of Algorithm Lab",
        ),
        (2027, "2027"),
        (2027.0, "2027"),
        (None, ""),
        ("\t\n", ""),
    ],
)
def test_a_label_is_one_trimmed_line(sent, shown):
    """Outer white space goes, inner becomes one blank, a number becomes text."""
    assert wire.label(sent) == shown


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"token_expired"}',
        b'{"error":"token_not_provided"}',
        b'{"msg":"Token is Invalid"}',
        b'{"message":"The token has been blacklisted"}',
        b'{"message":"Unauthenticated."}',
        b'{"status":0,"msg":"Invalid token"}',
        b'{"msg":"Unauthorised access","response":{"data":null}}',
        b'{"error":"user_not_found"}',
    ],
)
def test_known_wordings_of_a_refused_token_are_recognised(body):
    """An answer without rows whose text tells that the token is not accepted."""
    assert wire.refuses_token(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"msg":"","response":{"data":[]}}',
        b'{"msg":"Token expired","response":{"data":[]}}',
        b'{"msg":"Unexpected token < in JSON at position 0"}',
        b'{"msg":"Something went wrong"}',
        b'{"msg":{"token":"expired"}}',
        b'"token expired"',
        b"<html>token expired</html>",
        b'{"msg":"token \xff expired"}',
        b"",
    ],
)
def test_other_failures_are_not_taken_for_a_refused_token(body):
    """A student is not logged out by rows, a bug of the platform's, or HTML."""
    assert not wire.refuses_token(body)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=64))
def test_refuses_token_answers_for_any_bytes(body):
    """It is asked about what could not be decoded, so it raises nothing."""
    assert wire.refuses_token(body) in (True, False)


def test_a_fault_keeps_nothing_of_the_body():
    """Neither the text nor a chained cause of BadShape holds what was sent."""
    with pytest.raises(BadShape) as caught:
        wire.decode(wire.RECORDS, b'{"pin":"4821\xff"}')
    assert "4821" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
