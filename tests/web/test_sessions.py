"""Who is asking: tokens told apart, their claims read and never trusted too far."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.demo.college import College
from aims_server.errors import InvalidRequest, Unauthorized, WrongStudent
from aims_server.primitives import Epochs
from aims_server.web.sessions import (
    Session,
    SessionReader,
)
from aims_server.web.tokens import bearer_token, checked_body_token, is_token

SECRET = b"s" * 32
NOWHERE = SessionReader(b"secret")
TOKENS = st.from_regex(r"[A-Za-z0-9\-._~+/=]{1,200}", fullmatch=True)


def made_up(claims: object) -> str:
    """A token with these claims (or bytes in their place), as anybody can write one."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    middle = base64.urlsafe_b64encode(payload).decode().rstrip("=")
    return f"eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.{middle}.c2lnbmF0dXJl"


def repr_of(value: object) -> str:
    """A name for a parameter that fits on a line."""
    return repr(value)[:30]


@pytest.fixture(name="reader")
def _reader() -> SessionReader:
    return SessionReader(SECRET)


# What a token is.


@given(TOKENS)
def test_every_token_of_the_alphabet_is_one(token):
    """JWTs and opaque tokens alike."""
    assert is_token(token)
    assert bearer_token(f"Bearer {token}") == token
    assert checked_body_token(token) == token


@given(st.text(max_size=50))
def test_a_token_is_safe_in_a_header(text):
    """What passes has no blank, no control character, nothing but ASCII."""
    if is_token(text):
        assert text.isascii()
        assert text.isprintable()
        assert " " not in text


@pytest.mark.parametrize(
    "text", ["", "x" * 4097, "a b", "a\n", "a\r\nX: y", "ä", "a;b", 'a"b', "a\0", "a,b"]
)
def test_anything_else_is_no_token(text):
    """It is 401 in the header and 400 in the body."""
    assert not is_token(text)
    with pytest.raises(Unauthorized):
        bearer_token(f"Bearer {text}")
    with pytest.raises(InvalidRequest):
        checked_body_token(text)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
@pytest.mark.parametrize("blanks", [" ", "   "])
def test_the_scheme_has_no_case(scheme, blanks):
    """RFC 9110 11.1; blanks around the token are no part of it."""
    assert bearer_token(f"{scheme}{blanks}abc ") == "abc"


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic abc", "abc", "Bearer: abc", "Bearer\tabc",
     " Bearer abc", "Bearer abc, Bearer abc"],
)  # fmt: skip
def test_another_header_is_none(header):
    """A header with no scheme, another one, no token or several has no token."""
    with pytest.raises(Unauthorized):
        bearer_token(header)


@pytest.mark.parametrize("value", [None, 5, b"abc", ["abc"], {"token": "abc"}])
def test_a_body_token_is_text(value):
    """JSON may bring anything."""
    with pytest.raises(InvalidRequest):
        checked_body_token(value)


# Whose a token is.


def test_tokens_that_begin_or_end_alike_are_not_the_same(reader):
    """The platform's tokens share their first ~36 characters: a cache keyed by the
    first ten would show students each other's attendance.
    """
    college = College(students=200)
    tokens = [college.token(college.student(index)) for index in range(200)]
    assert len({token[:36] for token in tokens}) == 1
    tokens += [token[:-1] for token in tokens] + [token[1:] for token in tokens]
    keys = {reader.read(token).key for token in tokens}
    assert len(keys) == len(tokens)


@given(TOKENS, TOKENS)
def test_a_session_is_the_whole_token(one, other):
    """Equal tokens, equal keys; different tokens, different keys."""
    reader = SessionReader(SECRET)
    same = reader.read(one).key == reader.read(other).key
    assert same == (one == other)


@given(TOKENS, st.sampled_from(["attendance", "quiz", "subject/7/DBMS ü"]))
def test_a_cache_key_shows_nothing_of_the_token(token, resource):
    """It has no readable part of it, nor a hash that others could compute."""
    key = SessionReader(SECRET).read(token).resource_key(resource)
    assert SessionReader(b"another").read(token).resource_key(resource) != key
    assert len(key) == 32 + len(resource.encode())


def test_keys_of_two_resources_differ(reader):
    """One student's pages are kept apart."""
    session = reader.read("abc")
    names = ["attendance", "all-attendance", "quiz", "subject/1/x", "subject/11/x", ""]
    assert len({session.resource_key(name) for name in names}) == len(names)


def test_readers_of_one_secret_agree():
    """All workers count a student under the same key."""
    one, other = SessionReader(SECRET), SessionReader(SECRET)
    assert one.read("abc").key == other.read("abc").key


def test_a_long_secret_is_no_fault():
    """The hash takes 64 bytes of key; more are cut off."""
    assert SessionReader(b"s" * 100).read("abc").key


def test_a_caller_carries_its_token(reader):
    """It does for as long as a request lasts; the session does not."""
    caller = reader.caller("abc", "192.0.2.1")
    assert (caller.token, caller.address) == ("abc", "192.0.2.1")
    assert not any(getattr(caller.session, name) == "abc" for name in
                   type(caller.session).__slots__)  # fmt: skip


# Standing.


def test_an_answer_that_names_the_student_gives_standing(reader):
    """It gives standing to that token alone, while it is remembered."""
    token, other = made_up({"sub": 5}), made_up({"sub": 5, "exp": 9})
    reader.read(token).confirm(student_id=5)
    assert reader.read(token).verified
    assert reader.read(token).verified_student == 5
    assert not reader.read(other).verified


def test_an_answer_that_names_nobody_gives_none(reader):
    """An empty list of quizzes would come for any token of any student."""
    session = reader.read(made_up({"sub": 5}))
    session.confirm()
    session.confirm(admission_number=" ")
    assert not session.verified
    assert len(reader) == 0


def test_the_student_is_learned_from_an_answer(reader):
    """It is, if the token itself makes no claim."""
    reader.read("opaque").confirm(admission_number="2023B1599999")
    assert reader.read("opaque").verified_student is None
    reader.read("opaque").confirm(student_id=5)
    assert reader.read("opaque").verified_student == 5


@pytest.mark.parametrize(
    ("earlier", "named"),
    [
        ({}, {"student_id": 6}),
        ({"student_id": 5}, {"student_id": 6}),
        (
            {"admission_number": "2023B1599999"},
            {"admission_number": "2023B1599998"},
        ),
    ],
)
def test_an_answer_about_another_student_is_refused(reader, earlier, named):
    """Neither the token's claim nor an earlier answer may be contradicted."""
    session = reader.read(made_up({"sub": 5}))
    session.confirm(**earlier)
    with pytest.raises(WrongStudent):
        session.confirm(**named)
    assert session.verified is bool(earlier)


def test_an_admission_number_alone_leaves_whose_the_token_is(reader):
    """The student stays the one of the token's claim, as with quizzes."""
    session = reader.read(made_up({"sub": 5}))
    session.confirm(admission_number="2023B1599999")
    assert session.verified_student == 5


def test_a_session_is_remembered_however_often_it_is_read(reader):
    """Of a token without a claim nobody else knows whose it is."""
    reader.read("opaque").confirm(student_id=5)
    assert [reader.read("opaque").verified for _ in range(3)] == [True] * 3


def test_an_admission_number_has_no_case(reader):
    """The platform writes it either way."""
    session = reader.read("opaque")
    session.confirm(admission_number="2023B1599999")
    session.confirm(admission_number=" 2023b1599999")


def test_a_refusal_takes_standing_back():
    """Every session of that token loses it at once, and no other."""
    epochs = Epochs()
    reader = SessionReader(SECRET, epochs=epochs)
    token, other = made_up({"sub": 5}), made_up({"sub": 5, "exp": 9})
    one, beside = reader.read(token), reader.read(token)
    for session in (one, beside, reader.read(other)):
        session.confirm(student_id=5)
    epochs.end(one.owner)
    assert not one.verified
    assert not beside.verified
    assert not reader.read(token).verified
    assert reader.read(other).verified


def test_standing_is_every_workers():
    """What one has learned from the platform, a login for instance, all know; what one
    is refused, none knows any more that has not learned it by itself.
    """
    epochs = Epochs()
    one, other, third = (SessionReader(SECRET, epochs) for _ in range(3))
    token = made_up({"sub": 5})
    one.read(token).confirm(student_id=5)
    assert other.read(token).verified_student == 5
    epochs.end(one.read(token).owner)
    assert not third.read(token).verified
    assert not other.read(token).verified


@pytest.mark.parametrize("met_before", [False, True])
def test_whose_a_token_is_is_known_to_every_worker(met_before):
    """A login names the admission number in one, the quizzes may come to another, which
    may have met the token before.
    """
    epochs = Epochs()
    one, other = (SessionReader(SECRET, epochs) for _ in range(2))
    token = made_up({"sub": 5})
    if met_before:
        other.read(token).confirm(student_id=5)
    one.read(token).confirm(student_id=5, admission_number="2023B1599999")
    if met_before:
        other.read(token).confirm(student_id=5)
    with pytest.raises(WrongStudent):
        other.read(token).confirm(admission_number="2023B1599998")
    other.read(token).confirm(admission_number="2023B1599999")


def test_standing_elsewhere_needs_a_claim():
    """A token without a claim has none: nothing shared says whose it is."""
    epochs = Epochs()
    SessionReader(SECRET, epochs).read("opaque").confirm(student_id=5)
    assert not SessionReader(SECRET, epochs).read("opaque").verified


def test_tokens_without_standing_leave_nothing_behind(reader):
    """20 000 of them are as none."""
    for number in range(20_000):
        reader.read(made_up({"sub": 5, "exp": number}))
    assert len(reader) == 0


def test_the_memory_of_sessions_is_bounded(reader):
    """The one that was used longest ago goes."""
    reader.read("first").confirm(student_id=1)
    for number in range(20_000):
        reader.read(f"login-{number}").confirm(student_id=1 + number)
    assert len(reader) == 16_384
    assert not reader.read("first").verified


# Claims.


def test_the_platforms_claims_are_read(reader):
    """Its own tokens name their student and their end."""
    college = College(students=1)
    student = college.student(0)
    session = reader.read(college.token(student, life=100, issued=1_000_000))
    assert session.student_id == student.id
    assert session.expires_at == 1_000_100
    assert not session.verified


@pytest.mark.parametrize(("sub", "found"), [(5900001, 5900001), ("5900001", 5900001)])
def test_a_student_is_named_by_number_or_its_text(reader, sub, found):
    """A token's claim may be a number or its text: PHP writes either."""
    assert reader.read(made_up({"sub": sub})).student_id == found


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sub": None, "exp": None},
        {"sub": "x"},
        {"sub": ""},
        {"sub": "-5"},
        {"sub": "²"},
        {"sub": "9" * 19},
        {"sub": 0},
        {"sub": -5},
        {"sub": 10**18},
        {"sub": 10**2000},
        {"sub": True},
        {"sub": [5]},
        {"sub": 5.5},
        [],
        "x",
        b"",
        b"\xff\xff",
        b"{",
        b'{"sub":' + b"[" * 2000,
        b'{"x":' + b"[" * 2000,
    ],
    ids=repr_of,
)
def test_a_token_may_name_no_student(reader, claims):
    """Such a token works; it shares nothing with any other."""
    assert reader.read(made_up(claims)).student_id is None


@given(TOKENS, TOKENS)
def test_an_owner_is_one_token_of_one_student(one, other):
    """What is kept for a token belongs to that token alone, and knows the student."""
    reader = SessionReader(SECRET)
    same = reader.read(one).owner == reader.read(other).owner
    assert same == (one == other)
    session = reader.read(one)
    claimed = Session(session.key, (session.student_id or 0) + 1, None, NOWHERE)
    assert claimed.owner != session.owner


@pytest.mark.parametrize("end", [-1, 0, 5, 1.5, 1_700_000_000, 2**53])
def test_an_end_is_read(reader, end):
    """Unix seconds, whole or not."""
    assert reader.read(made_up({"sub": 5, "exp": end})).expires_at == end


@pytest.mark.parametrize(
    "end", ["soon", "5", 2**54, 10**400, 1e300, True, [5], {"a": 1}], ids=repr_of
)
def test_an_unreadable_end_is_none(reader, end):
    """Numbers that no clock can be compared with included."""
    session = reader.read(made_up({"sub": 5, "exp": end}))
    assert session.expires_at is None


@pytest.mark.parametrize("end", [-(2**60), -(10**400), -1e308], ids=repr_of)
def test_an_end_before_every_clock_is_one(reader, end):
    """Nothing is kept for such a token, however large the number."""
    assert reader.read(made_up({"sub": 5, "exp": end})).expires_at == -(2**53)


def test_an_odd_claim_takes_nothing_from_the_other(reader):
    """What is kept for a token of an odd student ends with the token all the same."""
    assert reader.read(made_up({"sub": [5], "exp": 9})).expires_at == 9
    assert reader.read(made_up({"sub": 5, "exp": "soon"})).student_id == 5


@pytest.mark.parametrize(
    "token", ["a", "a.b", "a.b.c.d", "..", "a..c", "a.=.c", "===="]
)
def test_a_token_that_is_no_jwt_claims_nothing(reader, token):
    """Opaque tokens are the platform's own affair."""
    session = reader.read(token)
    assert (session.student_id, session.expires_at) == (None, None)


def test_a_jwt_has_three_parts(reader):
    """Anything with more or fewer is read by nobody as one."""
    token = made_up({"sub": 5})
    for other in (token + ".x", "x." + token, token.rpartition(".")[0]):
        assert reader.read(other).student_id is None


NUMBERS = st.integers(-(10**400), 10**400) | st.floats(allow_nan=False)


@given(
    TOKENS
    | st.binary(max_size=100).map(made_up)
    | st.fixed_dictionaries({"sub": NUMBERS, "exp": NUMBERS}).map(made_up)
)
def test_no_token_breaks_the_reader(token):
    """Whatever a token is made of, it is a session with claims in their bounds."""
    session = SessionReader(SECRET).read(token)
    assert session.student_id is None or 0 < session.student_id < 10**18
    assert session.expires_at is None or abs(session.expires_at) <= 2**53


def test_a_login_is_remembered_before_any_page_is_asked_for():
    """The first page's student is compared with the login's."""
    reader = SessionReader(SECRET, epochs=Epochs())
    reader.read("token").confirm(admission_number="2023B1500000")
    with pytest.raises(WrongStudent):
        reader.read("token").confirm(admission_number="2023B1500001")


def test_no_answer_to_what_was_asked_before_a_refusal_gives_standing_back():
    """The records of a page may come after another page of the student was refused."""
    epochs = Epochs()
    reader, beside = (SessionReader(SECRET, epochs) for _ in range(2))
    asking = reader.read(made_up({"sub": 5}))
    asking.confirm(student_id=5)
    epochs.end(asking.owner)
    epochs.begin(asking.owner)  # it is asked for once more
    asking.confirm(student_id=5)
    assert not asking.verified
    assert not beside.read(made_up({"sub": 5})).verified


@pytest.mark.parametrize("read_between", [True, False])
@pytest.mark.parametrize("token", ["token", made_up({"sub": 5900001})], ids=repr_of)
def test_a_refusal_elsewhere_ends_standing(token, read_between):
    """When another process, on another machine maybe, has seen the token refused, this
    one knows it no longer; nor when it is asked for a page again, by a new request or
    one under way.
    """
    epochs = Epochs()
    reader = SessionReader(SECRET, epochs)
    session, other = reader.read(token), reader.read("another")
    for student_id, read in enumerate((session, other), start=5900001):
        epochs.begin(read.owner)  # a page is asked for
        read.confirm(student_id=student_id)
    assert reader.read(token) is session
    epochs.end(session.owner)
    if read_between:
        assert not reader.read(token).verified
    epochs.begin(session.owner)
    assert not reader.read(token).verified
    assert reader.read("another").verified
