"""Judges the platform's messages: a refused token, a problem of the account, no data.

The platform's wording is not known. The phrases here are those of its framework
(tymon/jwt-auth for Laravel, firebase/php-jwt) and of similar platforms, in English.
Each phrase is anchored so that no course's name can match.
"""

import re
from typing import Final

from .fields import one_line
from .message_fields import is_answer, read_fields, words_in

__all__ = [
    "leads_to_login",
    "refuses_token",
    "says_nothing_there",
    "speaks_of_account",
]

_LONGEST_TEXT: Final = 200

_FILLER: Final = (
    r"(?:(?:has|have|had|is|was|are|been|being|already|now|just|either|you|your|to|the"
    r"|that|which|provided|supplied|sent|using) )*"
)
_ENDED: Final = (
    r"(?:expired?|invalid(?:ated)?|ended|timed ?out|time ?out|required|revoked"
    r"|blacklisted|absent|missing|malformed|mismatch"
    r"|(?:not|no longer|isn.t) (?:valid|provided|found|present|active|set|accepted)"
    r"|does not exist|(?:validation|verification|authentication) failed"
    r"|(?:could|can) ?not be (?:parsed|verified|validated|decoded|empty)"
    r"|signature could not be verified)"
)
_ELSEWHERE: Final = (
    r" (?:to|on|at|via|through|using|from)"
    r"(?: (?:the|our|your|college|university|official|student|exam|fee|library))*"
    r" (?:erp|portal|web|website|site|app|lms|dashboard|desktop|browser)\b"
)
# "Again at 6 PM" is trouble of everybody's; "after resetting the password" and "in a
# new window" say how.
_LATER: Final = (
    r" (?:(?:later|after(?! \w+ing)|in (?:an? )?(?:\d+|some|few|while|minute|hour))\b"
    r"|at \d)"
)
_PHRASES: Final = (
    rf"\b(?:token|session|login|jwt) {_FILLER}{_ENDED}\b",
    # Not "login": that may be closed for everybody.
    rf"\bsession {_FILLER}(?:terminated|closed|destroyed)\b",
    r"\b(?:expired|invalid|missing|malformed|revoked|timed ?out|ended) (?:\w+ )?"
    r"(?:token|session|login|jwt)\b",
    r"\b(?:could ?not|can ?not|unable to|failed to) (?:parse|decode) (?:\w+ )?"
    r"(?:token|jwt)\b",
    r"(?:^|[.:!,;] )no (?:\w+ )?(?:token|session)(?: (?:was )?(?:provided|found|sent))?"
    r"(?:[.!,;]|$)",
    rf"\b(?:log|sign)(?: |-)?in again\b(?!{_LATER})|\bre ?log ?in\b",
    # "Please log in" means an ended login, unless it names another place.
    r"\b(?:please|kindly|must|need to|have to) (?:be )?(?:log|sign)(?:ged|ed)? ?in\b"
    rf"(?!{_ELSEWHERE}|{_LATER}| again{_LATER})",
    r"\b(?:log|sign) ?in (?:(?:is )?required|to (?:continue|proceed))\b",
    r"\b(?:been|you are|you were) (?:logged|signed) ?out\b",
    r"\b(?:logged|signed) ?in (?:elsewhere\b|(?:from|on|at|with|to) "
    r"(?:another|(?:an?|some) ?(?:other|different)|other|different)"
    r" (?:device|browser|system|computer|machine|place|location)\b)",
    rf"\b(?:token|session|login)\b.{{0,40}}\b(?:again\b(?!{_LATER})|another device\b)",
    r"\bunauthenticated\b",
    # Not a database's "password authentication failed".
    r"(?:^|[.:!,;] |\buser )authentication (?:is )?(?:required|failed)\b",
    r"\bfailed to authenticate\b(?! (?:to|with|against|on)\b)",
    r"^(?:401 |you are )?unauthori[sz]ed(?: access| request| user)?[.!]?$",
    r"\bjwt must be provided\b",
    r"\bsignature (?:has expired|verification failed)\b|^invalid signature[.!]?$",
    r"\bwrong number of segments\b",
    r"\bnot (?:(?:logged|signed) ?in|authenticated)\b",
    r"^user not found[.!]?$",
)
# Patterns of this module, some 0.2 ms each, are compiled when a call has failed.
_REFUSAL: Final = "|".join(_PHRASES)

# Other things with a session or a token than the student's login: a course file names
# its academic session, "2025-26".
_OTHERS: Final = (
    r"\b(?:academic(?: year)?|semester|term|odd|even|summer|winter|morning|evening"
    r"|admission|attendance|class|lecture|lab|practical|tutorial|remedial|teaching|course"
    r"|exam|quiz|feedback|registration|counselling|fee|payment|otp|qr(?: code)?"
    r"|hall ticket|20\d\d(?:[ /](?:20)?\d\d)?) (?:session|token)s?\b"
    r"|\bsession (?:year|selected|for (?:the )?(?:semester|course|batch|year))\b"
    r"|\bunexpected token\b"
)
# Beside an empty list these words are about the list's content, like "No record found".
_NOT_LISTED: Final = r"\bno (?:\w+ )?session\b|\bsession (?:is |was )?not found\b"

# Words may run together ("TokenExpired") or have capitals inside ("UnAuthorized").
_BLANKS: Final = r"[\s_-]+"
_BLANKS_AND_CAPITALS: Final = rf"{_BLANKS}|(?<=[a-z])(?=[A-Z])"

# Only a 401 is a refusal without words. These are refusals with them: 419 and 440 are
# Laravel's and IIS's for an ended session, 404 is jwt-auth's for a lost user.
_STATUSES_WITH_WORDS: Final = frozenset({400, 403, 404, 419, 440})

_LOGIN_PAGE: Final = (
    # A page in the browser has a "#", one of some frameworks of PHP's a "?r=".
    r"(?:^(?:[^?#]*/)?|#!?/?(?:[\w-]+/)*|[?&](?:r|route|page)=(?:\w+/)*)"
    r"(?:\w+[_-])?(?:log|sign)[_-]?in(?:\.(?:php|aspx?|jsp|html?))?(?=[/;?#&]|$)"
)

_ACCOUNT: Final = (
    r"\b(?:user ?names?|users?|names?|passwords?|credentials?|accounts?|locked"
    r"|disabled|blocked)\b"
)
_PROGRAM: Final = (
    r"SQLSTATE|Exception|\w+Error\b|Traceback|Stack ?trace|::|->|\.php\b|\bphp_"
    r"|\b(?:undefined|null|array|object|index|property|properties|column|tables?"
    r"|transaction|deadlock|connections?|host(?:name)?|server|curl|pdo|redis"
    r"|syntax error|duplicate entry|service not known)\b|'@'|\(\)"
    r"|(?<!\bin )(?<!\bour )(?<!\bthe )\bdatabase\b"  # "not found in our database"
    r"|\b(?:select|insert|update) .*\b(?:from|into|set)\b|[<>{}$\\]"
)
_LONGEST_ACCOUNT_TEXT: Final = 120

_THINGS: Final = (
    r"(?:records?|data|rows?|courses?|course files?|cfs?|subjects?|attendances?|classes"
    r"|class|lectures?|quiz|quizzes|cards?|results?|schedules?|time ?tables?|entry"
    r"|entries)"
)
# Not "no access to data", "no permission to view attendance".
_KIND: Final = r"(?:(?!(?:to|for|from|of|on|in|longer)\b)\w+ )"
_NOTHING: Final = (
    rf"\b(?:no|zero|(?<![\d.,])0) {_KIND}{{0,3}}?{_THINGS}\b|\bnothing (?:was )?found\b"
    rf"|\b{_THINGS} (?:was |were |is |are |has |have )?(?:empty"
    r"|not (?:yet )?(?:been )?(?:found|available|mapped|assigned|marked|uploaded))\b"
)
# With these words there may be data all the same; but not with "found in our database",
# "check back later".
_TROUBLE: Final = (
    r"\b(?:(?<!check )(?<!check back )later|moment|right now|temporar\w+|maintenance"
    r"|(?<!found (?:in|on) )(?<!found (?:in|on) (?:our|the) )(?:server|database)"
    r"|errors?|failed|failure|timed? ?out|denied|unavailable|issues?|fees?|dues)\b"
)


def refuses_token(status: int, body: bytes) -> bool:
    """Whether an answer of this status, without usable data, refuses the token.

    An HTML page never does. A 401 needs no words.

    >>> refuses_token(200, b'{"status":0,"msg":"Please login again"}')
    True
    >>> refuses_token(401, b"<html>Request blocked</html>")
    False
    """
    if status == 401:
        return is_answer(body)
    answer = read_fields(body)
    if answer is None:
        return False
    others = _OTHERS
    if 200 <= status < 300:
        parts = answer.response, answer.data
        if any(map(_has_rows, parts)):
            return False
        if [] in map(_innermost, parts):
            others += f"|{_NOT_LISTED}"
    elif status not in _STATUSES_WITH_WORDS:
        return False
    # In many projects tymon/jwt-auth's middleware puts its message there.
    texts = [*answer.texts(), *words_in(answer.status)]
    return any(
        _has(_REFUSAL, _of_login(text, others, between))
        for text in texts
        for between in (_BLANKS, _BLANKS_AND_CAPITALS)
    )


def leads_to_login(location: str | None) -> bool:
    """Whether a redirect goes to a login page.

    >>> leads_to_login("https://college.invalid/login?next=%2Fcards")
    True
    """
    return location is not None and _has(_LOGIN_PAGE, location)


def says_nothing_there(body: bytes) -> bool:
    """Whether an answer without a list means an empty one, rather than a wrong address
    or a failure.

    >>> says_nothing_there(b'{"msg":"No records found"}')
    True
    >>> says_nothing_there(b'{"message":"Not Found"}')
    False
    """
    answer = read_fields(body)
    texts = [] if answer is None else answer.texts()
    # Searching 8 MB of words would hold the interpreter's lock for 5 s.
    lines = [one_line(text[:_LONGEST_TEXT]) for text in texts]
    return any(_has(_NOTHING, line) and not _has(_TROUBLE, line) for line in lines)


def speaks_of_account(text: str) -> bool:
    """Whether a failed login's text concerns the account and not the program.

    >>> speaks_of_account("Account locked"), speaks_of_account("SQLSTATE[HY000] user")
    (True, False)
    """
    return (
        len(text) <= _LONGEST_ACCOUNT_TEXT
        and _has(_ACCOUNT, text)
        and not _has(_PROGRAM, text)
    )


def _of_login(text: str, others: str, between: str) -> str:
    """A text's words, separated by one blank, without those about ``others``."""
    words = " ".join(re.split(between, one_line(text[:_LONGEST_TEXT])))
    return re.sub(others, "", words, flags=re.IGNORECASE)


def _has(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None


def _innermost(part: object) -> object:
    """The content of `data`, also within a paginator's page, or the part itself."""
    while isinstance(part, dict) and "data" in part:
        part = part["data"]
    return part


def _has_rows(part: object) -> bool:
    """Whether its `data` is not empty, or it is a list of objects without words."""
    inner = _innermost(part)
    if inner is not part:
        return bool(inner)
    if isinstance(part, dict) and all(map(str.isdecimal, part)):
        part = list(part.values())  # as PHP writes a list with gaps
    rows = part if isinstance(part, list) else []
    return any(isinstance(row, dict) and not words_in(row) for row in rows)
