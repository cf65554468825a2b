"""What a client sent, read from plain values: what passes, and how the rest ends."""

import contextlib
import json
import time
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.errors import InvalidRequest, TooLarge, UnsupportedMediaType
from aims_server.web.request_parsing import (
    MAX_BODY_BYTES,
    LoginRequest,
    SubjectRequest,
    TokenRequest,
    check_body,
    form_object,
    json_object,
    query_object,
    request_id,
)

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
CANARY = "Zanahoria"
LOGIN = {"username": "2023B1599999", "password": "p&ss=w%rd+"}


def refusal(body, content_type=JSON, shape=LoginRequest) -> str:
    """Why a body is refused as a malformed one."""
    with pytest.raises(InvalidRequest) as caught:
        form_object(body, content_type, shape)
    return caught.value.message


# Request ids.


@given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True))
def test_a_well_formed_request_id_is_taken_over(offered):
    """Whatever fits the alphabet and the length is the request's id."""
    assert request_id(offered) == offered


@given(st.text(max_size=80))
def test_a_request_id_always_fits_the_alphabet(offered):
    """Nothing that could break a log line or a header gets through."""
    chosen = request_id(offered)
    assert 1 <= len(chosen) <= 64
    assert chosen.isascii()
    assert chosen.translate(str.maketrans("._-", "000")).isalnum()


@pytest.mark.parametrize("offered", [None, "", "a b", "x" * 65, "a\n", "ä", "a\rB: c"])
def test_a_missing_or_malformed_request_id_is_made_anew(offered):
    """Each such request gets an id of its own."""
    assert len({request_id(offered) for _ in range(100)}) == 100


# Bodies.


def test_a_body_may_have_64_kib_and_no_more():
    """The bound is exact."""
    check_body(b"x" * MAX_BODY_BYTES, None)
    with pytest.raises(TooLarge):
        check_body(b"x" * (MAX_BODY_BYTES + 1), None)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate, gzip", "x"])
def test_a_compressed_body_is_refused(encoding):
    """Nothing is unpacked at the door, so nothing can blow up there."""
    with pytest.raises(UnsupportedMediaType):
        check_body(b"", encoding)


@pytest.mark.parametrize("encoding", [None, "", "identity", " Identity "])
def test_a_plain_body_passes(encoding):
    """`identity` is no compression."""
    check_body(b"{}", encoding)


@pytest.mark.parametrize(
    "content_type", [None, "", JSON, "Application/JSON; charset=UTF-8", "text/json"]
)
def test_json_is_read_under_its_names(content_type):
    """A missing type is taken for JSON, parameters and case do not matter."""
    body = json.dumps(LOGIN).encode()
    found = json_object(body, content_type, LoginRequest)
    assert msgspec.to_builtins(found) == LOGIN


@pytest.mark.parametrize("content_type", [FORM, "text/plain", "multipart/form-data"])
def test_json_endpoints_read_nothing_else(content_type):
    """Another type is 415, whatever the bytes are."""
    with pytest.raises(UnsupportedMediaType):
        json_object(b'{"token":"x"}', content_type, TokenRequest)


def test_a_form_is_read_with_its_escapes():
    """Passwords with `&`, `=`, `%` and `+` arrive as they were typed."""
    body = b"username=2023B1599999&password=p%26ss%3Dw%25rd%2B"
    assert msgspec.to_builtins(form_object(body, FORM, LoginRequest)) == LOGIN


@pytest.mark.parametrize(
    "body",
    [
        b"username=a",
        b"username=a&password=%ff",
        b"\xff",
        b"&".join(b"f=%d" % number for number in range(17)),
        b"username=a&password=b%0a",
        b"",
    ],
)
def test_a_broken_form_is_refused(body):
    """Missing fields, no UTF-8, too many fields, control characters."""
    assert refusal(body, FORM)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body):
    """Nothing but our own error ever comes out of a body."""
    for content_type in (JSON, FORM):
        try:
            found = form_object(body, content_type, LoginRequest)
        except InvalidRequest:
            continue
        assert isinstance(found, LoginRequest)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"username":"a","password":"b"} x',
        b'{"username":"a","password":"b","x":NaN}',
        b'{"username":"a","password":"b","x":Infinity}',
        b'{"username":"a","password":"b","x":1e999}',
        b'{"username":"a","password":"b","x":' + b"9" * 5000 + b"}",
        b'{"username":"a","password":"b","x":"\xff"}',
        b'{"username":"a","password":"\\ud800 is half a letter"}',
        b"\xef\xbb\xbf{}",
        json.dumps(LOGIN).encode("utf-16"),
        b'{"username":"a"}',
        b'{"username":"a","password":null}',
        b'{"username":"a","password":7}',
        b'{"username":["a"],"password":"b"}',
        b'{"username":"a","password":"b\\u0000"}',
        b'{"username":"a\\nb","password":"b"}',
        b'{"username":"' + b"a" * 513 + b'","password":"b"}',
    ],
)
def test_a_body_that_does_not_fit_is_refused(body):
    """Bad JSON, encoding, numbers, types and unprintable text are refused."""
    assert refusal(body)


def test_the_last_of_equal_keys_counts():
    """As in other JSON readers, the last counts; the platform is sent what was read."""
    body = b'{"token":"a","token":"b"}'
    assert json_object(body, JSON, TokenRequest).token == "b"


def test_unknown_fields_are_ignored():
    """A newer frontend may send more, big numbers among it."""
    body = b'{"token":"a","more":{"x":[1,2.5,true,null,%s]}}' % (b"1" * 300)
    assert json_object(body, JSON, TokenRequest).token == "a"


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [32, 33, 500, 10_000])
def test_nesting_is_bounded(opening, depth):
    """32 levels inside the object's own are not read any more; 31 are."""
    closing, inmost = (b"]", b"") if opening == b"[" else (b"}", b"1")

    def body(levels):
        inner = opening * levels + inmost + closing * levels
        return b'{"token":"a","x":' + inner + b"}"

    assert json_object(body(31), JSON, TokenRequest)
    assert "nested" in refusal(body(depth), shape=TokenRequest)


def test_brackets_in_text_are_no_nesting():
    """A password may be made of brackets."""
    body = json.dumps({**LOGIN, "password": "[{" * 50}).encode()
    assert json_object(body, JSON, LoginRequest).password == "[{" * 50


def test_hostile_json_costs_little():
    """The worst 64 KiB are refused in far less than a request's share of the loop."""
    bodies = [
        b'{"token":"a","x":[' + b"[]," * 21_000 + b"[]]}",
        b'{"token":"a","x":' + b"[" * 65_000,
        b'{"token":"a","x":[' + b'{"":' * 16_000,
    ]

    def cost(body):
        began = time.process_time()
        with contextlib.suppress(InvalidRequest):
            json_object(body, JSON, TokenRequest)
        return time.process_time() - began

    for body in bodies:
        # The best of three: one may meet the garbage of all the tests before.
        assert min(cost(body) for _ in range(3)) < 0.1


@given(
    st.recursive(
        st.sampled_from([CANARY, 7, 2.5, True, None]),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.just("x"), inner)
        ),
        max_leaves=5,
    )
)
@settings(max_examples=60)
def test_a_refusal_never_repeats_a_value(value):
    """The complaint names fields and types only: values may be passwords."""
    for name in ("username", "password", "student_id"):
        shape = SubjectRequest if name == "student_id" else LoginRequest
        sent = {**LOGIN, "subject": "x", "cfId": CANARY, "studentId": 1, name: value}
        message = ""
        try:
            found = json_object(json.dumps(sent).encode(), JSON, shape)
            found.ids() if isinstance(found, SubjectRequest) else None
        except InvalidRequest as fault:
            message = fault.message
        assert CANARY not in message
        assert "2.5" not in message


@pytest.mark.parametrize("field", ["username", "password"])
def test_a_refusal_names_the_field(field):
    """Its sentence may be shown to a student."""
    needed = {"username": "A user name is needed.", "password": "A password is needed."}
    sent = {name: text for name, text in LOGIN.items() if name != field}
    assert refusal(json.dumps(sent).encode()) == needed[field]
    other = json.dumps({**sent, field: [1]}).encode()
    assert refusal(other) == needed[field]


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("2023B1599999 ", "2023B1599999"),
        ("\u3000x\u00a0", "x"),
        ("\ufeff2023B1599999\u200b \r\n", "2023B1599999"),
        ("\u202ax\u200dy\u202c", "x\u200dy"),
        (7, "7"),
        (7.0, "7"),
    ],
)
def test_a_user_name_is_trimmed_text(sent, name):
    """Some frontends send the blank that a keyboard adds, what is copied unseen round a
    name in a chat, or a number.
    """
    body = json.dumps({**LOGIN, "username": sent}).encode()
    assert json_object(body, JSON, LoginRequest).user_name() == name


@pytest.mark.parametrize("sent", ["", "  ", "\u00a0", "\u200b\u2060"])
def test_an_empty_user_name_is_none(sent):
    """The platform is not asked for nobody."""
    with pytest.raises(InvalidRequest, match=r"A user name is needed\."):
        query_object({**LOGIN, "username": sent}, LoginRequest).user_name()


def test_blanks_within_a_name_hold_nobody_up():
    """As many as a body has room for are looked at once, not once for each: without
    that it takes half a minute.
    """
    begun = time.thread_time()
    with pytest.raises(InvalidRequest, match="too long"):
        query_object({**LOGIN, "username": f"a{' ' * 60_000}b"}, LoginRequest)
    assert time.thread_time() - begun < 3


@pytest.mark.parametrize("filler", ["%", "\u00e9%"])
def test_a_form_of_escapes_is_refused_unread(filler):
    """More "%" than its two fields can have are none of a login's: a body of them would
    take the event loop 16 ms.
    """
    body = f"username=2023B1599999&password={filler * 20_000}".encode()
    with pytest.raises(InvalidRequest, match="not well formed"):
        form_object(body, FORM, LoginRequest)


def test_the_longest_fields_fit_into_a_form():
    """As many "%" are taken as both fields have with four bytes in each character."""
    longest = {"username": "\U0001f600" * 512, "password": "\U0001f601" * 512}
    assert form_object(urlencode(longest).encode(), FORM, LoginRequest).password


# Ids of a subject.


@pytest.mark.parametrize("number", [7, 7.0, "7", "0007", 10**18 - 1, str(10**18 - 1)])
def test_ids_are_numbers_or_their_text(number):
    """Both are met in the old frontend; to JSON, 7.0 is a whole number too."""
    request = SubjectRequest("x", student_id=5, cf_id=number)
    assert request.ids() == (5, int(number))


@pytest.mark.parametrize(
    "number",
    [
        0,
        -1,
        10**18,
        1.5,
        0.0,
        -7.0,
        1e18,
        1e300,
        "",
        " 7",
        "7 ",
        "+7",
        "-7",
        "7.0",
        "1e3",
        "\u0667",
        "²",
        "x",
    ],
)
def test_other_ids_are_refused(number):
    """What goes into a URL to the platform is digits and nothing else."""
    with pytest.raises(InvalidRequest):
        SubjectRequest("x", student_id=number, cf_id=5).ids()


@given(
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)  # no JSON number is one
    | st.text(max_size=25)
)
def test_an_id_that_passes_is_a_positive_number(number):
    """Below 10**18 too, so that every JSON reader and database takes it."""
    try:
        found, _ = SubjectRequest("x", student_id=number, cf_id=5).ids()
    except InvalidRequest:
        return
    assert 0 < found < 10**18


@pytest.mark.parametrize("number", [True, None, [1], {"a": 1}])
def test_an_id_of_another_type_is_refused(number):
    """JSON's true is not 1."""
    body = json.dumps({"subject": "x", "studentId": number, "cfId": 1}).encode()
    assert "number of a student" in refusal(body, shape=SubjectRequest)


def test_a_query_is_read_by_the_names_of_the_contract():
    """`studentId` and `cfId`, not our own spelling."""
    fields = {"subject": "x", "studentId": "1", "cfId": "2"}
    assert query_object(fields, SubjectRequest).ids() == (1, 2)
    with pytest.raises(InvalidRequest, match="number of a student"):
        query_object({"subject": "x", "student_id": "1", "cfId": "2"}, SubjectRequest)


def test_a_subject_is_at_most_512_characters_of_text():
    """It becomes part of a key and of the answer."""
    fields = {"subject": "x" * 512, "studentId": "1", "cfId": "2"}
    assert query_object(fields, SubjectRequest)
    for subject in ("x" * 513, "a\rb", "a\x7fb"):
        with pytest.raises(InvalidRequest, match="too long"):
            query_object({**fields, "subject": subject}, SubjectRequest)
