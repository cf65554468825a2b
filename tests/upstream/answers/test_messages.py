"""What the platform's messages mean: refusals, accounts, nothing there."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.upstream.answers import messages

REFUSALS = [
    "Token is Invalid",
    "Token is invalid",
    "Token not provided",
    "Token has expired",
    "token_expired",
    "token_not_provided",
    "Invalid token",
    "The token has been blacklisted",
    "Token could not be parsed from the request.",
    "Token Signature could not be verified.",
    "Wrong number of segments",
    "Unauthenticated.",
    "Unauthorised access",
    "user_not_found",
    "jwt expired",
    "jwt must be provided",
    "Signature has expired",
    "You are not logged in",
    "Please login again",
    "Please login again after resetting your password",
    "Kindly sign in again in a new window",
    "Please log in again to continue",
    "Session expired",
    "Your session has expired. Please login.",
    "Session timed out",
    "Login Time-out",
    "session-expired",
    "Login required",
    "Logged in from another device",
    "Your login was used on another device",
    "Session ended",
    "The token you provided is invalid",
    "No token provided",
    "Failed to authenticate token",
    "Expired JWT",
    "Please log in to continue",
    "You must be logged in",
    "You have been logged out",
    "Authentication required",
    "Sign in required",
    "Please re-login",
    "You are already logged in on some other device",
    "Logged in from a different browser",
    "Token is either invalid or expired",
    "<b>Session</b>&nbsp;expired",
    "Your session has been closed",
    "Authentication failed",
    "Unauthorized: authentication required",
    "Please login to your account",
    "Please login to access the portal",
    "Session lost, please try again",
    "The class session is over and your login session has expired",
    "TokenExpiredException",
    "UnAuthorized",
    "UnAuthenticated",
    "InValid Token",
    "Session Expire",
    "User is not authenticated",
    "No active session found",
    "Access denied. No token provided.",
    "Could not decode token: Error while decoding to JSON: Syntax error",
    "Malformed token",
    "No authorization token was found",
    "Your account was logged in elsewhere",
    "Log in to continue",
]


@pytest.mark.parametrize("status", [200, 400, 403, 419, 440])
@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_known_by_its_words(text, status):
    """A JSON answer without data that says so, in any of these statuses."""
    body = json.dumps({"status": 0, "msg": text}).encode()
    assert messages.refuses_token(status, body)


@pytest.mark.parametrize(
    "body",
    [
        {"message": "Session expired"},
        {"error": "Session expired"},
        {"error": {"message": "Session expired", "code": 7}},
        {"status": 0, "response": "Session expired"},
        {"msg": "Session expired", "response": {"data": None}},
        {"msg": "Session expired", "response": []},
        {"msg": "Session expired", "response": {"data": []}},
        {"msg": "Session expired", "response": {"data": {"last_page": 1, "data": []}}},
        {"msg": "Session expired", "response": {}, "data": []},
        {"msg": "Session expired", "response": {"user": {"id": 7}}},
        {"response": [{"message": "Session expired"}]},
        {"msg": "No session found. Please login again", "response": {"data": []}},
        {"responseStatus": "Failure", "errors": ["Session expired"]},
        {"errors": [{"code": 7}, {"message": "Session expired"}]},
        {"msg": "", "response": {"msg": "Session expired"}},
        {"msg": ["Session expired"]},
        {"status": "Token is Expired"},
        {"status": "Authorization Token not found"},
    ],
)
def test_a_refusal_may_stand_in_any_field_of_words(body):
    """Wherever clients of such platforms read a message."""
    assert messages.refuses_token(200, json.dumps(body).encode())


@pytest.mark.parametrize("status", [400, 403, 419, 440])
def test_a_failure_with_rows_may_be_a_refusal(status):
    """Only a success is one whatever its words, and only if it has rows."""
    body = b'{"msg":"Session expired","response":{"data":[{"sl_num":1}]}}'
    assert messages.refuses_token(status, body)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"status":0}'),
        (401, b"{}"),
        (401, b""),
        (401, b"\xef\xbb\xbf"),
        (401, b"\r\n"),
        (401, b'\xef\xbb\xbf{"msg":"x"}'),
        (401, b"[]"),
        (401, b"null"),
        (401, b'"Unauthorized"'),
    ],
)
def test_a_401_needs_no_words(status, body):
    """Its number says it, where the answer is JSON or nothing."""
    assert messages.refuses_token(status, body)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"msg":"","response":{"data":[]}}'),
        (200, b'{"msg":"Token expired","response":{"data":[{}]}}'),
        (200, b'{"msg":"Token expired","response":{"data":{"data":[{}]}}}'),
        (200, b'{"msg":"Token expired","response":[{"id":1}]}'),
        (200, b'{"msg":"Token expired","response":{"0":{"id":1}}}'),
        (200, b'{"msg":"Token expired","response":null,"data":[{"id":1}]}'),
        (200, b'{"msg":"No session found","data":{"data":[]}}'),
        (200, b'{"msg":"Unexpected token < in JSON at position 0"}'),
        (200, b'{"msg":"Something went wrong"}'),
        (200, b'{"msg":{"token":"expired"}}'),
        (200, b'{"msg":"No records for Token Ring and Session Management"}'),
        (200, b'{"msg":"No quiz in Login Systems and Expired Patents"}'),
        (200, b'{"msg":"No session 3 of Authentication and Access Control"}'),
        (200, b'{"msg":"Last login: 9 September"}'),
        (200, b'{"msg":"Academic session is closed"}'),
        (400, b'{"msg":"academic_session is required"}'),
        (404, b'{"msg":"No academic session found"}'),
        (400, b'{"msg":"Invalid academic session"}'),
        (200, b'{"msg":"Quiz session has ended"}'),
        (200, b'{"msg":"Semester session has ended","response":{"data":[]}}'),
        (400, b'{"msg":"Invalid term session"}'),
        (200, b'{"msg":"The 2025-26 session has ended","response":{"data":[]}}'),
        (200, b'{"msg":"The academic year session has ended","response":[]}'),
        (200, b'{"msg":"Odd session is closed"}'),
        (400, b'{"msg":"Invalid session for semester 5"}'),
        (403, b'{"msg":"Hall ticket token is invalid"}'),
        (200, b'{"msg":"Attendance token expired, please scan again"}'),
        (200, b'{"msg":"Unable to verify your token at the moment"}'),
        (200, b'{"msg":"Please login after 5 minutes"}'),
        (200, b'{"msg":"Under maintenance, please login again after some time"}'),
        (200, b'{"msg":"Under maintenance. Login will work again at 6 PM"}'),
        (403, b'{"msg":"The server is busy. Kindly login again in 15 minutes"}'),
        (200, b'{"msg":"Server upgrade: please login again in a few hours"}'),
        (200, b'{"msg":"No attendance session found","response":{"data":[]}}'),
        (200, b'{"msg":"The attendance session is closed","response":{"data":[]}}'),
        (200, b'{"msg":"No session found","response":{"data":[]}}'),
        (200, b'{"msg":"No active session","response":[]}'),
        (200, b'{"msg":"Session not found","response":{"data":[]}}'),
        (404, b'{"msg":"Sessions not found"}'),
        (403, b'{"msg":"Please login to the ERP portal and give your feedback"}'),
        (200, b'{"msg":"Kindly log in through our web portal to pay"}'),
        (200, b'{"msg":"Login is closed for maintenance"}'),
        (400, b'{"msg":"FATAL: password authentication failed for user"}'),
        (200, b'{"msg":"Failed to authenticate with the mail server"}'),
        (200, b'{"msg":"The session could not be loaded. Try again later"}'),
        (200, b'{"msg":"Unexpected token < in JSON. Please try again"}'),
        (403, b'{"status":0,"msg":"You are not authorised to see these records"}'),
        (403, b'{"status":0,"msg":"Simulated failure"}'),
        (500, b'{"msg":"Token expired"}'),
        (200, b'"token expired"'),
        (200, b"<html>token expired</html>"),
        (401, b"<html>Request blocked</html>"),
        (401, b"[" * 100_000),
        (403, b"<html>Session expired, please login again</html>"),
        (401, b"Unauthorized"),
        (401, b"401 Unauthorized"),
        (401, b"[proxy] blocked"),
        (401, b"null and void"),
        (200, b'{"msg":"token \xff expired"}'),
        (200, b""),
    ],
)
def test_other_failures_are_not_taken_for_a_refusal(status, body):
    """Nobody is logged out by rows, names, HTML, or a fault of the platform's."""
    assert not messages.refuses_token(status, body)


@settings(max_examples=200)
@given(st.sampled_from([200, 400, 401, 403, 500]), st.binary(max_size=64))
def test_every_bytes_have_an_answer(status, body):
    """No bytes make the judgement raise."""
    assert messages.refuses_token(status, body) in (True, False)
    assert messages.says_nothing_there(body) in (True, False)


@pytest.mark.parametrize(
    ("location", "leads"),
    [
        ("/login", True),
        ("https://college.invalid/login?next=/cards", True),
        ("https://college.invalid/auth/sign-in", True),
        ("/api/v1/login.php", True),
        ("login.php", True),
        ("../users/sign_in", True),
        ("https://college.invalid/#/login", True),
        ("https://college.invalid/?from=cards#/auth/login", True),
        ("/index.php?#!/login", True),
        ("/login/index.php", True),
        ("/login/student?next=/cards", True),
        ("/index.php?r=site/login", True),
        ("/wp-login.php?redirect_to=/cards", True),
        ("/cards?next=/login", False),
        ("/maintenance?url=https://college.invalid/login", False),
        ("/maintenance#login-again", False),
        ("/login-status/index.php", False),
        ("/weblogin-help", False),
        ("https://college.invalid/maintenance", False),
        ("https://college.invalid/logins-of-today", False),
        ("https://login.invalid/elsewhere", False),
        ("", False),
        (None, False),
    ],
)
def test_a_redirect_to_a_login_page_is_known(location, leads):
    """Its path says so, also one behind "#" or "?r="."""
    assert messages.leads_to_login(location) is leads


@pytest.mark.parametrize(
    ("text", "speaks"),
    [
        ("Account locked", True),
        ("Invalid username or password", True),
        ("No such user", True),
        ("User name not known", True),
        ("Your account has been disabled", True),
        ("User not found in our database", True),
        ("Database of users is gone", False),
        ("Simulated failure", False),
        ("SQLSTATE[HY000]: user unknown", False),
        ("Exception in UserController", False),
        ("Call to a member function on user null in /app/User.php", False),
        ("Access denied for user 'root'@'localhost' (using password: YES)", False),
        ("Unknown column 'user' in 'field list'", False),
        ("Deadlock: users table locked", False),
        ("KeyError: 'username'", False),
        ("Duplicate entry 'x' for key 'username'", False),
        ("syntax error, unexpected 'user'", False),
        ("mysqli_connect(): user denied", False),
        ("Too many connections for user", False),
        ("cURL error 28: user service timed out", False),
        ("Name or service not known", False),
        ("Trying to get property 'name' of non-object", False),
        ("Connection refused for user", False),
        ("The password is wrong. " * 6, False),
        ("", False),
    ],
)
def test_a_message_about_an_account_is_told_from_a_programs(text, speaks):
    """Only then is a 500 at a login a refusal rather than a fault."""
    assert messages.speaks_of_account(text) is speaks


@pytest.mark.parametrize(
    ("text", "nothing"),
    [
        ("No records found", True),
        ("No record found", True),
        ("No attendance data available", True),
        ("Records not found", True),
        ("No evaluated quizzes", True),
        ("There are no classes yet", True),
        ("No record found. Please try again.", True),
        ("0 records found", True),
        ("10 results not shown", False),
        ("No CF mapped with student", True),
        ("Courses have not been assigned", True),
        ("Attendance is not yet marked", True),
        ("No time table uploaded", True),
        ("No records found in our database", True),
        ("<p>No&nbsp;records\r\nfound</p>", True),
        ("No record found on the server.", True),
        ("No attendance records yet, please check back later", True),
        ("No access to data", False),
        ("You have no permission to view attendance", False),
        ("No rights on attendance", False),
        ("No longer a class representative", False),
        ("Attendance is not available at the moment", False),
        ("Data not available due to maintenance", False),
        ("No data received from server", False),
        ("No data, the database is down", False),
        ("Records not found, try later", False),
        ("Access denied. No records.", False),
        ("Fees not paid, so no attendance is shown", False),
        ("Data not available due to technical issues", False),
        ("Not Found", False),
        ("Route not found", False),
        ("A long tale, " * 20 + "no records found", False),
        ("Simulated failure", False),
    ],
)
def test_an_empty_list_in_words_is_told_from_a_wrong_address(text, nothing):
    """Both come as a 404; and from a failure or a lack of rights, as a 200 has it."""
    body = json.dumps({"status": 0, "msg": text}).encode()
    assert messages.says_nothing_there(body) is nothing
