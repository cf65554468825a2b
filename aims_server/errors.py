"""The one tree of failures that a client can be told about.

::

    ApiError
    ├── InvalidRequest 400          ├── TooLarge 413
    ├── Unauthorized 401            │   ├── TargetTooLong 414
    │   └── TokenRefused 401        │   └── HeadTooLarge 431
    ├── LoginRefused 401 (or 4xx)   ├── UnsupportedMediaType 415
    ├── Forbidden 403               │   └── UnsupportedCoding 415
    ├── NotFound 404                ├── RateLimited 429          (retry_after)
    └── MethodNotAllowed 405        ├── InternalError 500
                                    └── UpstreamError 502
                                        ├── WrongAnswer 502
                                        │   └── WrongStudent 502
                                        ├── UpstreamDropped 502
                                        │   └── UpstreamUnreachable 502
                                        ├── UpstreamFault 502       (5xx)
                                        ├── UpstreamRejected 502    (other 4xx)
                                        ├── Overloaded 503          (retry_after)
                                        ├── UpstreamUnavailable 503 (retry_after)
                                        │   └── UpstreamBusy 503    (its 503)
                                        └── UpstreamTimeout 504

A class carries its status, its stable code and a sentence fit for a student. Only
for a login that the platform refuses, or answers with 429, its own text is passed on,
from a field of its JSON.
"""

import math
from typing import ClassVar

import msgspec

__all__ = [
    "ApiError",
    "FailureCause",
    "Forbidden",
    "HeadTooLarge",
    "InternalError",
    "InvalidRequest",
    "LoginRefused",
    "MethodNotAllowed",
    "NotFound",
    "Overloaded",
    "RateLimited",
    "TargetTooLong",
    "TokenRefused",
    "TooLarge",
    "Unauthorized",
    "UnsupportedCoding",
    "UnsupportedMediaType",
    "UpstreamBusy",
    "UpstreamDropped",
    "UpstreamError",
    "UpstreamFault",
    "UpstreamRejected",
    "UpstreamTimeout",
    "UpstreamUnavailable",
    "UpstreamUnreachable",
    "WrongAnswer",
    "WrongStudent",
    "retry_after_header",
]


class ApiError(Exception):
    """A failure that the contract describes (docs/contract.rst 2.4).

    ``retry_after`` is in seconds, or None when waiting would not help.
    """

    status: int = 500
    code: str = "internal_error"
    sentence: ClassVar[str] = "Something went wrong on our side."

    def __init__(
        self, sentence: str | None = None, *, retry_after: float | None = None
    ) -> None:
        self.message = sentence or self.sentence
        self.retry_after = retry_after
        super().__init__(self.message)

    def headers(self) -> list[tuple[str, str]]:
        """The answer's headers that belong to this failure. A 401 names the scheme of
        the token to be had (RFC 9110 11.6.1).
        """
        headers = [("WWW-Authenticate", "Bearer")] if self.status == 401 else []
        if self.retry_after is not None or self.status == 503:
            headers.append(("Retry-After", retry_after_header(self.retry_after or 0)))
        return headers


class InternalError(ApiError):
    """A fault of ours; the only member of the tree that is logged with a traceback."""


class InvalidRequest(ApiError):
    """The request's body or query is not what the endpoint takes."""

    status, code = 400, "invalid_request"
    sentence = "The request is not understood."


class Unauthorized(ApiError):
    """No token, or one that cannot be a token."""

    status, code = 401, "unauthorized"
    sentence = "A valid token is needed."


class TokenRefused(Unauthorized):
    """The platform does not accept the token; everything kept for it is dropped."""

    sentence = "The attendance platform does not accept this token. Log in again."


class LoginRefused(ApiError):
    """The platform refuses a login. Its status is passed on, and its own text if that
    is meant for a student.
    """

    status, code = 401, "unauthorized"
    sentence = "The attendance platform refuses this login."

    def __init__(self, sentence: str | None = None, *, status: int = 401) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = _LOGIN_CODES.get(status, InvalidRequest.code)


class Forbidden(ApiError):
    """The record belongs to another student."""

    status, code = 403, "forbidden"
    sentence = "This record belongs to another student."


class NotFound(ApiError):
    """No such path."""

    status, code = 404, "not_found"
    sentence = "There is nothing at this address."


class MethodNotAllowed(ApiError):
    """The path is known, the method is not among ``allowed``."""

    status, code = 405, "method_not_allowed"
    sentence = "This address does not take that method."

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__()
        self.allowed = allowed

    def headers(self) -> list[tuple[str, str]]:
        """RFC 9110 15.5.6: a 405 lists what is allowed."""
        return [("Allow", ", ".join(self.allowed)), *super().headers()]


class TooLarge(ApiError):
    """The body passes 64 KiB."""

    status, code = 413, "too_large"
    sentence = "The request's body is too large."


class TargetTooLong(TooLarge):
    """The request's target passes 8 KiB, or has more than 1000 arguments."""

    status = 414
    sentence = "The request's address is too long."


class HeadTooLarge(TooLarge):
    """The request's head passes 32 KiB, 256 lines, or 256 bytes of a name."""

    status = 431
    sentence = "The request's header is too large."


class UnsupportedMediaType(ApiError):
    """A body in a form that the endpoint does not read."""

    status, code = 415, "unsupported_media_type"
    sentence = "The request's body is of a type that is not read here."


class UnsupportedCoding(UnsupportedMediaType):
    """A compressed body."""

    sentence = "A compressed request body is not read here."

    def headers(self) -> list[tuple[str, str]]:
        """RFC 9110 15.5.16: a 415 for its coding names those that are read."""
        return [("Accept-Encoding", "identity"), *super().headers()]


class RateLimited(ApiError):
    """A limit is reached; ``kind`` names it. If it is the platform's own limit,
    ``sentence`` may be the platform's text and ``beside`` its JSON object.
    """

    status, code = 429, "rate_limited"
    sentence = "Too many requests. Wait a moment and try again."

    def __init__(
        self,
        kind: str,
        retry_after: float,
        sentence: str | None = None,
        beside: bytes | None = None,
    ) -> None:
        super().__init__(sentence, retry_after=retry_after)
        self.kind = kind
        self.beside = beside


class FailureCause(msgspec.Struct, frozen=True):
    """Why a call to the platform failed, fit for a log line: it contains nothing from
    a URL, a header or a body. ``kind`` is one of a few words, ``detail`` is free text.
    """

    kind: str
    detail: str = ""


class UpstreamError(ApiError):
    """The platform's answer cannot be used."""

    cause: FailureCause | None = None
    status, code = 502, "upstream_error"
    sentence = "The attendance platform gave an unusable answer."


class UpstreamDropped(UpstreamError):
    """The platform closed the connection before its answer was complete."""

    sentence = "The connection to the attendance platform was lost."


class UpstreamUnreachable(UpstreamDropped):
    """No connection to the platform could be made, TLS included."""

    sentence = "The attendance platform cannot be reached."


class UpstreamFault(UpstreamError):
    """The platform answered with a 5xx."""

    sentence = "The attendance platform reported a fault of its own."


class UpstreamRejected(UpstreamError):
    """The platform rejected this one request (a 4xx that is not about the token). That
    says nothing about the platform's health.
    """


class WrongAnswer(UpstreamError):
    """The platform's answer is not to this call: it is another endpoint's."""


class WrongStudent(WrongAnswer):
    """The platform's answer names another student than the one who asked."""


class Overloaded(UpstreamError):
    """No slot for a call to the platform would be free before the deadline."""

    status, code = 503, "overloaded"
    sentence = "Too many students are asking at once. Try again in a moment."


class UpstreamUnavailable(UpstreamError):
    """The platform asked for a pause, or has failed too often to be asked now."""

    status, code = 503, "upstream_unavailable"
    sentence = "The attendance platform is not available right now."


class UpstreamBusy(UpstreamUnavailable):
    """The platform answered with a 503."""


class UpstreamTimeout(UpstreamError):
    """The request's deadline passed."""

    status, code = 504, "upstream_timeout"
    sentence = "The attendance platform did not answer in time."


_LOGIN_CODES = {
    kind.status: kind.code for kind in (Unauthorized, Forbidden, NotFound, RateLimited)
}


def retry_after_header(seconds: float) -> str:
    """``Retry-After`` in whole seconds, never under 1 (RFC 9110 10.2.3)."""
    return str(max(1, math.ceil(seconds)))
