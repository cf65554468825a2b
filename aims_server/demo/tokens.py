"""The token of a login: a JWT in the layout of the real ones, signed with a toy key."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec

__all__ = ["ISSUER", "LIFE_SECONDS", "Claims", "sign", "verify"]

LIFE_SECONDS = 60_480_000
"""700 days, as all five tokens that were seen (docs/platform.rst 4)."""

ISSUER = "https://platform.example.invalid/api/v1/admin/authenticate"


class Claims(msgspec.Struct):
    """What a token says, in the order it says it."""

    sub: int
    iss: str
    iat: int
    exp: int
    nbf: int
    jti: str


def sign(claims: Claims, key: bytes) -> str:
    """Return the token; its first 36 characters are the same whatever it claims."""
    signed = _HEADER + b"." + _encode(msgspec.json.encode(claims))
    return (signed + b"." + _signature(signed, key)).decode()


def verify(token: str, key: bytes) -> Claims | None:
    """Return what a token claims, or None when it is not one of ours."""
    raw = token.encode(errors="replace")
    signed, _, signature = raw.rpartition(b".")
    if not hmac.compare_digest(signature, _signature(signed, key)):
        return None
    payload = signed.partition(b".")[2]
    padded = payload + b"=" * (-len(payload) % 4)
    return msgspec.json.decode(urlsafe_b64decode(padded), type=Claims)


def _encode(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


def _signature(signed: bytes, key: bytes) -> bytes:
    return _encode(hmac.digest(key, signed, "sha256"))


_HEADER = _encode(b'{"typ":"JWT","alg":"HS256"}')
