"""Parsers of settings' values, each with a sentence about what it allows.

A parser raises ValueError for anything else; its cause is the OSError of a file that
cannot be read.
"""

import base64
import re
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from stat import S_ISREG
from typing import Final, Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from ..primitives import StoreAddress, parse_trusted_proxy

__all__ = [
    "BASE_URL",
    "CA_FILE",
    "DEFAULT_PORTS",
    "FLAG",
    "HOSTS",
    "ORIGIN",
    "ORIGINS",
    "PROXIES",
    "PROXY_URL",
    "SECRET",
    "STORE",
    "TOKEN",
    "CertificateFile",
    "Parser",
    "list_of",
    "one_of",
    "seconds",
    "whole",
]

T = TypeVar("T")

_PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LABEL: Final = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"


class Parser(Struct, Generic[T], frozen=True):
    """The allowed values of a variable, as a sentence and as a function.

    >>> whole(1, 9).allowed, whole(1, 9).parse("7")
    ('a whole number from 1 to 9', 7)
    """

    allowed: str
    parse: Callable[[str], T]

    def wrong_part(self, text: str) -> str:
        """The part of a wrong text that is to be shown: all of it."""
        return text


def whole(least: int, most: int) -> Parser[int]:
    """Whole numbers of plain digits, both bounds included."""

    def parse(text: str) -> int:
        # int() alone would also take "1_0", "+1" and digits of other scripts.
        if re.fullmatch(r"[0-9]{1,9}", text) and least <= int(text) <= most:
            return int(text)
        raise ValueError(text)

    return Parser(f"a whole number from {least} to {most}", parse)


def seconds(least: float, most: float) -> Parser[float]:
    """Plain decimal numbers of seconds, both bounds included."""

    def parse(text: str) -> float:
        number = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text)
        if number and least <= float(text) <= most:
            return float(text)
        raise ValueError(text)

    return Parser(f"seconds, a number from {least:g} to {most:g}", parse)


def one_of(*words: str) -> Parser[str]:
    """One of a few lower-case words, written in any case."""

    def parse(text: str) -> str:
        return words[words.index(text.lower())]

    return Parser(f"one of {', '.join(words)}", parse)


class ListParser(Parser[tuple[T, ...]], frozen=True):
    """A parser of values separated by commas."""

    item: Parser[T]

    def wrong_part(self, text: str) -> str:
        """The first wrong item, unless that is empty: then the whole text."""
        for item in text.split(","):
            try:
                self.item.parse(item.strip())
            except ValueError:
                return item.strip() or text
        return text


def list_of(parser: Parser[T], plural: str) -> Parser[tuple[T, ...]]:
    """Values separated by commas, each kept once; an empty text has none."""

    def parse(text: str) -> tuple[T, ...]:
        items = [item.strip() for item in text.split(",")] if text else []
        return tuple(dict.fromkeys(parser.parse(item) for item in items))

    return ListParser(f"{plural}, comma-separated", parse, parser)


def _flag(text: str) -> bool:
    return bool(("false", "true").index(text.lower()))


def _host(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        labels = text.split(".")
        named = all(re.fullmatch(_LABEL, label) for label in labels)
        # A last label of digits is a mistyped address, never a name.
        if not named or labels[-1].isdigit() or len(text) > 253:
            raise
    return text


def _split(text: str) -> SplitResult:
    url = urlsplit(text)
    plain = re.fullmatch(r"[A-Za-z0-9\[\]:/._~!$&'()*+,;=%-]+", text)
    if not plain or url.scheme not in DEFAULT_PORTS or url.netloc.endswith(":"):
        raise ValueError(text)
    _host(url.hostname or "")
    if url.port == 0:
        raise ValueError(text)
    return url


def _origin_of(url: SplitResult) -> str:
    """Return scheme, host and port as browsers write them in `Origin`."""
    host = str(url.hostname)
    if ":" in host:
        host = f"[{ip_address(host).compressed}]"
    usual = url.port in (None, DEFAULT_PORTS[url.scheme])
    return f"{url.scheme}://{host}" + ("" if usual else f":{url.port}")


def _base_url(text: str) -> str:
    url = _split(text)
    return _origin_of(url) + url.path.rstrip("/")


def _origin(text: str) -> str:
    url = _split(text)
    if url.path:
        raise ValueError(text)
    return _origin_of(url)


def _proxy_url(text: str) -> str:
    if text:
        url = urlsplit(text)
        plain = re.fullmatch(r"[!-~]+", text) and not url.query and not url.fragment
        if not plain or not url.port or url.path not in ("", "/"):
            raise ValueError(text)
        # The first @ ends the password to curl, and the last one to Python.
        if url.scheme not in _PROXY_SCHEMES or url.netloc.count("@") > 1:
            raise ValueError(text)
        _host(url.hostname or "")
    return text


class CertificateFile(Struct, frozen=True):
    """A file of certificates in PEM form and its content, so that workers that start
    later do not depend on the file.
    """

    path: str
    content: bytes

    def __str__(self) -> str:
        return self.path


def _ca_file(text: str) -> CertificateFile | None:
    if not text:
        return None
    path = Path(text)
    try:
        if not S_ISREG(path.stat().st_mode):  # a pipe would be waited for without end
            raise ValueError(text)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=text)
        return CertificateFile(text, path.read_bytes())
    except ssl.SSLError:
        raise ValueError(text) from None
    except OSError as error:
        raise ValueError(text) from error


def _token(text: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{0,4096}", text):
        raise ValueError(text)
    return text or None


def _store(text: str) -> StoreAddress | None:
    return StoreAddress.parse(text) if text else None


def _secret(text: str) -> bytes | None:
    secret = base64.b64decode(text, validate=True)  # binascii.Error is a ValueError
    if text and len(secret) < 32:
        raise ValueError("too short")
    return secret or None


HOSTS = list_of(
    Parser("an IP address or a host name", _host),
    "IP addresses or host names",
)
BASE_URL = Parser(
    "an http or https URL without user name, password, query or fragment", _base_url
)
ORIGIN = Parser("an origin: http or https://host[:port], nothing after it", _origin)
ORIGINS = list_of(ORIGIN, "origins, each http or https://host[:port] with no path")
PROXIES = list_of(
    Parser("an address, a CIDR block or unix", parse_trusted_proxy),
    'addresses, CIDR blocks or "unix" for peers on a Unix socket',
)
FLAG = Parser("true or false", _flag)
PROXY_URL = Parser(
    "http, https, socks5 or socks5h://host:port, with user:password@ if need be, any of"
    " /?#@[] in it written like %2F",
    _proxy_url,
)
CA_FILE = Parser("a file of certificates in PEM form", _ca_file)
STORE = Parser(
    "redis[s]:// or valkey[s]://user:password@host:port/database, with / and @ in a"
    " password as %2F and %40, unix:///path, or redis[s]+sentinel://host,host,host/name",
    _store,
)
SECRET = Parser("base64 of at least 32 bytes: openssl rand -base64 32", _secret)
TOKEN = Parser("up to 4096 letters, digits or any of - . _ ~ + / =", _token)
