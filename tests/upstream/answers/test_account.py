"""Whose an answer is: quizzes passed on, and logins."""

import json

import pytest

from aims_server.upstream.answers import BadShape, Quizzes, decode_quizzes, read_login

from .bodies import body_of, without

QUIZ = {
    "sl_num": 1,
    "quiz_uc": "A1B2",
    "quiz_link": '<a href="https://quiz.invalid/#/quiz-1">View</a>',
    "master_course_code": "BCS503",
    "student_name": "ASHA EXAMPLE",
    "roll_number": None,
    "admission_number": "2023B1599999",
    "marks_obtained": 7,
    "correct": None,
    "incorrect": "2",
    "not_attempted": 1,
    "loggedin_at": "2025-09-03 13:51:31",
    "status": "Evaluated",
}


@pytest.mark.parametrize(
    "body",
    [
        body_of([QUIZ, QUIZ | {"marks_obtained": -1}]),
        body_of([QUIZ | {"status": True}]),
        body_of([QUIZ | {"quiz_link": 5, "loggedin_at": {}}]),
        body_of([QUIZ, None, "A1B2"]),
        body_of([QUIZ, QUIZ | {"admission_number": "-"}]),
    ],
)
def test_quizzes_are_passed_on_whatever_is_in_them(body):
    """Byte for byte; only whose they are is read."""
    assert decode_quizzes(body) == Quizzes(body, "2023B1599999")


@pytest.mark.parametrize(
    "body",
    [
        body_of([without(QUIZ, "admission_number")]),
        body_of([QUIZ | {"admission_number": "NA"}, QUIZ | {"admission_number": 0}]),
    ],
)
def test_quizzes_that_name_nobody_are_passed_on_too(body):
    """Quizzes that name nobody are passed on, too."""
    assert decode_quizzes(body) == Quizzes(body)


@pytest.mark.parametrize(
    "body",
    [
        body_of([]),
        body_of(None),
        b'{"msg":"No record found","response":[]}',
        b'{"responseStatus":"Failure","errors":["Invalid URL"]}',
        b"{}",
    ],
)
def test_no_quiz_is_an_answer(body):
    """It is passed on, and is known to have none."""
    assert decode_quizzes(body) == Quizzes(body, is_empty=True)


@pytest.mark.parametrize("field", ["student_id", "fk_student"])
@pytest.mark.parametrize("value", [5900001, "5900001"])
def test_what_names_a_student_otherwise_is_whose_it_is(field, value):
    """The rows of other lists do, which may come in place of quizzes."""
    assert decode_quizzes(body_of([{field: value}])).student_id == 5900001
    with pytest.raises(BadShape):
        decode_quizzes(body_of([{field: value}, {field: 5900002}]))


@pytest.mark.parametrize(
    "response",
    [
        {"data": {"0": QUIZ, "3": QUIZ}},
        [QUIZ],
        {"data": {"data": [QUIZ]}},
        {"data": QUIZ},
        {"quizzes": [[QUIZ]]},
        {"data": {"response": {"data": [QUIZ]}}},
        {"data": [{"quiz": QUIZ}]},
        {"data": [], "others": [QUIZ]},
    ],
)
def test_quizzes_are_somebodys_wherever_their_list_stands(response):
    """An unusual envelope hides no other student's quizzes."""
    body = json.dumps({"msg": "", "response": response}).encode()
    assert decode_quizzes(body) == Quizzes(body, "2023B1599999")


def test_a_list_of_quizzes_out_of_all_measure_is_refused():
    """Odd ones are read one by one, while others' long answers wait."""
    assert decode_quizzes(body_of([None, *[QUIZ] * 19_999]))
    with pytest.raises(BadShape):
        decode_quizzes(body_of([None, *[QUIZ] * 20_000]))


def test_an_answer_of_quizzes_is_searched_whole_or_refused():
    """One of very many objects is refused, not searched for other students."""
    few, many = ({"others": [[]] * n, "response": [QUIZ]} for n in (39_000, 40_000))
    body = json.dumps(few).encode()
    assert decode_quizzes(body) == Quizzes(body, "2023B1599999")
    with pytest.raises(BadShape):
        decode_quizzes(json.dumps(many).encode())


def test_quizzes_of_two_students_are_nobodys():
    """A mix-up at the platform goes no further."""
    with pytest.raises(BadShape):
        decode_quizzes(body_of([QUIZ, QUIZ | {"admission_number": "2023B1599998"}]))


@pytest.mark.parametrize(
    ("body", "token"),
    [
        (b'{"status":1,"token":"a.b.c","response":{"id":1}}', "a.b.c"),
        (b'{"status":0,"msg":"Invalid"}', None),
        (b'{"token":""}', None),
        (b'{"token":" "}', None),
        (b'{"token":null}', None),
        (b'{"token":5}', None),
        (b'{"token":{"token":"a"}}', None),
        (b'{"response":{"token":"a"}}', None),
        (b"{}", None),
    ],
)
def test_the_token_of_a_login_is_its_top_level_text(body, token):
    """Anything but text at the top level is no token."""
    assert read_login(body).token == token


@pytest.mark.parametrize(
    ("body", "text", "refuses"),
    [
        ({"status": 0, "msg": "Account locked"}, "Account locked", True),
        ({"message": "Try again"}, "Try again", False),
        ({"response": "Wrong password"}, "Wrong password", True),
        ({"msg": ""}, None, False),
    ],
)
def test_a_login_says_what_the_platform_says(body, text, refuses):
    """The first field with words is read, and whether it is about the account."""
    said = read_login(json.dumps(body).encode())
    assert (said.text, said.refuses) == (text, refuses)


@pytest.mark.parametrize(
    ("response", "whose"),
    [
        ({"id": 5900001, "username": "2023b1599999"}, (5900001, "2023B1599999")),
        ({"id": [], "username": "2023B1599999"}, (None, "2023B1599999")),
        ({"id": "NA", "username": "-"}, (None, None)),
        ({"id": 0, "username": "0"}, (None, None)),
        ("Wrong password", (None, None)),
        ([], (None, None)),
    ],
)
def test_a_login_says_whose_it_is(response, whose):
    """The number and the admission number, where there are any."""
    body = json.dumps({"token": "a.b.c", "response": response}).encode()
    said = read_login(body)
    assert (said.student_id, said.admission_number) == whose


@pytest.mark.parametrize("body", [b"[]", b'"a"', b"null", b"5", b"<html>", b""])
def test_a_login_answer_that_is_no_object_is_refused(body):
    """There is nothing in it to pass on to a student."""
    with pytest.raises(BadShape):
        read_login(body)


def test_a_login_answer_out_of_all_measure_is_refused():
    """It is read on the event loop, and usually has 600 bytes."""
    assert read_login(json.dumps({"msg": "x" * 60_000}).encode()).text
    with pytest.raises(BadShape):
        read_login(json.dumps({"msg": "x" * 70_000}).encode())
