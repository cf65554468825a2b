"""HTTP as plain values: reads requests, applies policies, represents answers.

Knows neither Tornado nor the cache.
"""

from .accept import preferred_media, quality, wants_fresh
from .cors import CorsPolicy
from .headers import NAME_CHARACTERS, header_lines, header_pairs, header_values
from .limit_keys import address_key
from .openapi import documented_statuses, load_openapi
from .packing import digest_of
from .proxies import client_address, is_trusted
from .quotas import Quota, RequestLimits
from .representation import (
    Answer,
    Variant,
    make_answer,
    make_variant,
    negotiate,
    pack_answer,
    unpack_answer,
)
from .request_parsing import (
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
from .response import (
    CLIENT_CLOSED,
    Response,
    closing_message,
    common_lines,
    error_response,
    json_response,
    reason_phrase,
    server_timing,
)
from .sessions import Caller, Session, SessionReader
from .simple_request import (
    MAX_HEAD_LINES,
    MAX_NAME_BYTES,
    AnswerParts,
    SimpleRequest,
    parse_simple_request,
)
from .tokens import bearer_token, checked_body_token, is_token

__all__ = [
    "CLIENT_CLOSED",
    "MAX_BODY_BYTES",
    "MAX_HEAD_LINES",
    "MAX_NAME_BYTES",
    "NAME_CHARACTERS",
    "Answer",
    "AnswerParts",
    "Caller",
    "CorsPolicy",
    "LoginRequest",
    "Quota",
    "RequestLimits",
    "Response",
    "Session",
    "SessionReader",
    "SimpleRequest",
    "SubjectRequest",
    "TokenRequest",
    "Variant",
    "address_key",
    "bearer_token",
    "check_body",
    "checked_body_token",
    "client_address",
    "closing_message",
    "common_lines",
    "digest_of",
    "documented_statuses",
    "error_response",
    "form_object",
    "header_lines",
    "header_pairs",
    "header_values",
    "is_token",
    "is_trusted",
    "json_object",
    "json_response",
    "load_openapi",
    "make_answer",
    "make_variant",
    "negotiate",
    "pack_answer",
    "parse_simple_request",
    "preferred_media",
    "quality",
    "query_object",
    "reason_phrase",
    "request_id",
    "server_timing",
    "unpack_answer",
    "wants_fresh",
]
