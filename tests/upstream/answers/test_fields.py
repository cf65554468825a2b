"""Single values as the platform sends them: numbers, names, percentages."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.upstream.answers import fields


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (31, 31),
        ("31", 31),
        (" 19 ", 19),
        ("31.00", 31),
        ("31.0000000000", 31),
        ("30.5000000000", 30.5),
        (31.0, 31),
        ("1,031", 1031),
        ("10,31,000", 1031000),
        (30.5, 30.5),
        ("30.5", 30.5),
        (0, 0),
        (2**53 - 1, 2**53 - 1),
        (str(2**53 - 1), 2**53 - 1),
        (None, None),
        ("  ", None),
        ("-", None),
        ("x", None),
        ("1_0", None),
        ("+1", None),
        ("-1", None),
        ("0x1", None),
        ("1e3", None),
        ("\u0663", None),
        ("\u00b2", None),
        ("1,03", None),
        (",031", None),
        ("31.", None),
        ("9" * 5000, None),
        (str(2**53), None),
    ],
)
def test_a_number_is_read_in_every_form_it_is_sent_in(sent, meant):
    """A number or its text, with thousands parted and a fraction; else nothing."""
    read = fields.number(sent)
    assert (read, type(read)) == (meant, type(meant))


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (7300101, 7300101),
        ("7300101", 7300101),
        (7300101.0, 7300101),
        ("7,300,101", None),
    ]
    + [(value, None) for value in (1.5, "1.5", "x", " ", None)],
)
def test_an_identifier_is_a_whole_number(sent, meant):
    """It may be text; a fraction or a comma makes it none."""
    assert fields.whole(sent) == meant


@settings(max_examples=60)
@given(st.integers(0, 10**9), st.integers(0, 99))
def test_a_number_survives_every_writing(whole, hundredths):
    """Written plainly, with commas or with decimals, it is read back the same."""
    assert fields.number(f"{whole:,}") == whole
    exactly = Fraction(100 * whole + hundredths, 100)
    assert fields.number(f"{whole}.{hundredths:02}") == float(exactly)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 10**6).map(lambda n: n / 10), max_size=20), st.randoms())
def test_sums_are_exact_and_know_no_order(counts, random):
    """As many tenths come out as went in, however they are shuffled."""
    shuffled = random.sample(counts, len(counts))
    assert fields.sum_of(counts) == fields.sum_of(shuffled)
    tenths = sum(round(10 * count) for count in counts)
    assert fields.exact(fields.sum_of(counts)) * 10 == tenths


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("68.42%", "68.42%"),
        (" 80% ", "80%"),
        ("68.42", "68.42%"),
        ("NaN%", None),
        ("NA", None),
        (68.42, "68.42%"),
        (66.666, "66.67%"),
        (3.125, "3.13%"),
        (1.005, "1.01%"),
        (12.344999999999999, "12.34%"),
        (80.0, "80%"),
        (100, "100%"),
        (0, "0%"),
        (None, None),
        (" ", None),
    ],
)
def test_a_percentage_is_the_platforms_text_with_its_sign(sent, shown):
    """What is no number is nothing; a number gets two decimals at most, rounded half up
    as the service does itself.
    """
    assert fields.percent(sent) == shown


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (
            "  Design and Analysis of\r\nAlgorithm  Lab ",
            "Design and Analysis of Algorithm Lab",
        ),
        ("Signals &amp; Systems", "Signals & Systems"),
        ("C &amp;lt; D", "C &lt; D"),
        ("<b>Web</b>\xa0Technology", "Web Technology"),
        ("Data<br/>Structures", "Data Structures"),
        ("&nbsp;Soft&nbsp;Skills&nbsp;", "Soft Skills"),
        ("a < b and c > d", "a < b and c > d"),
        ("Web <!-- old --> Lab <!-- x", "Web Lab"),
        ("Web " + "<!--" * 500_000, "Web"),
        (f"Web &#x110000;&#{'9' * 5000};", "Web \ufffd\ufffd"),
        ("Web " * 2_000_000, ("Web " * 1024).strip()),
        ("Web\x00\x00", "Web"),
        ("Web\x08&#7;\x9fLab", "Web Lab"),
        ("\ufeffWeb\u200b \u200eLab", "Web Lab"),
        ("Tech\u200bno&#8203;logy", "Technology"),
        ("\u202eWeb\u202c \u2067Lab\u2069", "Web Lab"),
        (2027, "2027"),
        (2027.0, "2027"),
        (None, ""),
        ("\t\n", ""),
    ],
)
def test_a_name_is_one_clean_line(sent, shown):
    """No tags, entities decoded once, white space one blank, a number its text."""
    assert fields.one_line(sent) == shown


@settings(max_examples=60)
@given(st.text(st.characters(exclude_characters="<&"), max_size=40))
def test_a_clean_name_stays_as_it_is(text):
    """Cleaning twice is cleaning once."""
    assert fields.one_line(fields.one_line(text)) == fields.one_line(text)
