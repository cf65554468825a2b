"""Judges a reply by its status: a body to decode, or one of our errors."""

from typing import Final

import msgspec

from ..errors import (
    FailureCause,
    RateLimited,
    TokenRefused,
    UpstreamBusy,
    UpstreamError,
    UpstreamFault,
    UpstreamRejected,
    UpstreamUnavailable,
)
from ..web import is_token
from .answers import (
    NO_ROWS,
    BadShape,
    is_answer,
    leads_to_login,
    read_login,
    refuses_token,
    says_nothing_there,
    text_of,
)
from .transport import Reply

__all__ = ["LoginAnswer", "check_health", "checked_body", "login_answer"]

_LONGEST_PAUSE: Final = 120.0  # seconds; a longer Retry-After is not believed
_DEFAULT_PAUSE: Final = 1.0  # seconds, for a 429 that names no time
_LONGEST_WAIT: Final = 86_400.0  # seconds; the longest wait told to a student
_LARGEST_MESSAGE: Final = 4096  # bytes; a larger body has rows, or is a page of HTML
_LARGEST_REFUSAL: Final = 64 * 1024  # with the trace that a debugging framework adds


class LoginAnswer(msgspec.Struct, frozen=True):
    """The platform's answer to a login, to be passed on: its status, its JSON (for a
    refusal `LoginBody.refusal`), and the token if we can use it. ``text`` is its
    message; the last two identify the student, if the answer does.
    """

    status: int
    body: bytes
    token: str | None = None
    text: str | None = None
    student_id: int | None = None
    admission_number: str | None = None


def checked_body(reply: Reply, *, of_records: bool) -> bytes:
    """The body of an answer that may be decoded; raises for all others.

    A 404 whose message says that there is nothing counts as an empty list. With
    ``of_records`` any message in JSON does: the summary, fetched before, tells whether
    there should be records.
    """
    status, body = reply.status, reply.body
    success = 200 <= status < 300
    largest = _LARGEST_MESSAGE if success else _LARGEST_REFUSAL
    if len(body) < largest and refuses_token(status, body):
        raise TokenRefused
    if success:
        return body
    check_health(reply)
    if (
        status == 404
        and len(body) < _LARGEST_MESSAGE
        and (says_nothing_there(body) or (of_records and text_of(body)))
    ):
        return NO_ROWS
    if 400 <= status < 500:
        raise _with_status(UpstreamRejected(), reply)
    if leads_to_login(reply.location):
        raise TokenRefused
    # A redirect, or no final status.
    raise _with_status(UpstreamError(), reply)


def check_health(reply: Reply) -> None:
    """Raise for statuses that concern the platform rather than the request."""
    if reply.status == 429:
        pause = _pause(reply) or _DEFAULT_PAUSE
        raise _with_status(UpstreamUnavailable(retry_after=pause), reply)
    if reply.status == 503:
        raise _with_status(UpstreamBusy(retry_after=_pause(reply)), reply)
    if reply.status >= 500:
        raise _with_status(UpstreamFault(), reply)


def _with_status(error: UpstreamError, reply: Reply) -> UpstreamError:
    error.cause = FailureCause(f"status_{reply.status}")
    return error


def _pause(reply: Reply) -> float | None:
    seconds = reply.retry_after
    return None if seconds is None else min(seconds, _LONGEST_PAUSE)


def _login_limited(reply: Reply) -> RateLimited:
    """The error for a login's 429, with the platform's message and waiting time."""
    wait = min(reply.retry_after or _DEFAULT_PAUSE, _LONGEST_WAIT)
    try:
        said = read_login(reply.body)
    except BadShape:
        return RateLimited("platform", wait)
    return RateLimited("platform", wait, said.text, said.refusal)


def login_answer(reply: Reply) -> LoginAnswer:
    """Read the reply to a login. A refusal is an answer, too.

    Raises :class:`RateLimited` for a 429, :class:`UpstreamError` for other failures.
    """
    if reply.status == 429:  # it concerns the account: others of the address may go on
        raise _login_limited(reply)
    if reply.status != 500:  # which may be a refusal
        check_health(reply)
    if reply.status // 100 not in (2, 4, 5):
        raise _with_status(UpstreamError(), reply)
    try:
        said = read_login(reply.body)
    except BadShape as fault:
        return _refusal_without_words(reply, fault)
    # The company's own app takes any 200 to 500 for an answer with a message.
    if reply.status >= 500 and not said.refuses:
        raise _with_status(UpstreamFault(), reply)
    if reply.status >= 400 or said.token is None:
        status = reply.status if reply.status // 100 == 4 else 401
        return LoginAnswer(status, said.refusal, text=said.text)
    token = said.token if is_token(said.token) else None
    return LoginAnswer(
        200,
        said.body,
        token,
        student_id=said.student_id,
        admission_number=said.admission_number,
    )


def _refusal_without_words(reply: Reply, fault: BadShape) -> LoginAnswer:
    """A refusal that only its status tells; raises if it is none of the platform's."""
    check_health(reply)
    if reply.status < 300:
        raise UpstreamError from fault
    if len(reply.body) < _LARGEST_MESSAGE and is_answer(reply.body):
        return LoginAnswer(reply.status, b"{}")
    raise _with_status(UpstreamError(), reply) from fault
