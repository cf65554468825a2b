"""The parser of simple requests, compared with Tornado's."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.http1connection import parse_int
from tornado.httputil import HTTPHeaders, parse_request_start_line

from aims_server.web.simple_request import parse_simple_request

from ..http_server.bad_input import REFUSED_FRAMING

PLAIN = (
    b"GET /api/quiz HTTP/1.1\r\n"
    b"Host: aims.example:3001\r\n"
    b"Authorization: Bearer a.b-c\r\n"
    b"accept-encoding:gzip, br \t\r\n"
    b"X-Empty:\r\n\r\n"
)

POSTED = (
    b"POST /api/attendance HTTP/1.1\r\n"
    b"Host: aims.example\r\n"
    b"Content-Length: 15\r\n"
    b"Content-Type: application/json\r\n\r\n"
    b'{"token":"a.b"}'
)

names = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
values = st.from_regex(r"[!-~]([\t -~]{0,20}[!-~])?|", fullmatch=True)
others = st.dictionaries(names.map(str.lower), values, max_size=6).filter(
    lambda headers: headers.keys().isdisjoint(
        {"host", "connection", "content-length", "transfer-encoding", "expect"}
        | {"upgrade", "trailer"}
    )
)
# One change to a request that was sound.
changes = st.tuples(
    st.integers(0, len(POSTED)),
    st.integers(0, 3),
    st.one_of(
        st.binary(max_size=3),
        st.sampled_from(
            [
                *(b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b"\r\n ", b"\xe9"),
                *(b"\r\n\r\n", b"\r\nHost: b", b"?a=b", b"\r\nContent-Length: 1"),
                *(b"0", b"1", b"+", b"-", b"_", b",", b", 15"),
            ]
        ),
    ),
)


def lines(headers: dict[str, str]) -> bytes:
    """A header block."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


def full_parse(request: bytes) -> tuple[str, str, dict[str, str], bytes]:
    """What Tornado makes of the same bytes; what is not one request raises."""
    head, end, body = request.partition(b"\r\n\r\n")
    assert end
    assert not re.search(rb"(?<!\r)\n", head)
    first, _, block = head.decode("latin-1").partition("\r\n")
    start = parse_request_start_line(first)
    assert start.version == "HTTP/1.1"
    parsed = list(HTTPHeaders.parse(block).get_all())
    headers = {name.lower(): value for name, value in parsed}
    assert len(headers) == len(parsed)
    assert len(body) == parse_int(headers.get("content-length", "0"))
    return start.method, start.path, headers, body


def test_a_plain_request_is_read():
    """Path and headers, names in lower case, blanks round the values gone."""
    assert parse_simple_request(PLAIN) == (
        "GET",
        "/api/quiz",
        {
            "host": "aims.example:3001",
            "authorization": "Bearer a.b-c",
            "accept-encoding": "gzip, br",
            "x-empty": "",
        },
        b"",
    )


def test_a_plain_post_is_read():
    """The body as it came, of whatever bytes."""
    body = bytes(range(256))
    request = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 256\r\n\r\n" + body
    headers = {"host": "x", "content-length": "256"}
    assert parse_simple_request(request) == ("POST", "/a", headers, body)


@given(others)
def test_whatever_headers_come_along(headers):
    """Every sound head is read, and as the full parser does."""
    request = b"GET /api/quiz HTTP/1.1\r\nHost: x\r\n" + lines(headers) + b"\r\n"
    read = parse_simple_request(request)
    assert read is not None
    assert read == full_parse(request)


@pytest.mark.parametrize("sound", [PLAIN, POSTED])
@given(change=changes)
def test_nothing_is_read_that_the_full_parser_refuses(sound, change):
    """After any change of a byte both parsers read the same, or this one none."""
    at, removed, inserted = change
    request = sound[:at] + inserted + sound[at + removed :]
    read = parse_simple_request(request)
    if read is not None:
        assert read == full_parse(request)


@pytest.mark.parametrize("case", REFUSED_FRAMING)
def test_no_bad_framing_is_read(case):
    """What Tornado's parser refuses is left to it."""
    assert parse_simple_request(REFUSED_FRAMING[case]) is None


@pytest.mark.parametrize("length", ["14", "16", "015", "+15", "1_5", "0xf", "15, 15"])
def test_a_body_is_as_long_as_it_says(length):
    """A length that is not written plainly is not read."""
    request = POSTED.replace(
        b"Content-Length: 15", f"Content-Length: {length}".encode()
    )
    assert request != POSTED
    assert parse_simple_request(request) is None


def test_a_body_is_a_posts():
    """A GET with a body, a POST without a length, are left alone."""
    assert parse_simple_request(POSTED.replace(b"POST", b"GET")) is None
    assert parse_simple_request(POSTED.replace(b"Content-Length: 15\r\n", b"")) is None


@pytest.mark.parametrize(
    "line",
    [
        "Content-Length: 0", "Content-Encoding: gzip", "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "Upgrade: websocket", "Connection: upgrade", "Connection: close, keep-alive",
        "Host: y", "Host : y", "A: 1\r\na: 2", "Authorization: Bearer \xe9",
        "A: b\r\n c", "A", ": b", "A: \x7f", "A b: c", "A: " + 9000 * "x",
    ],
)  # fmt: skip
def test_more_than_plain_is_left_alone(line):
    """A body, an upgrade, a header that comes twice, an odd character: not read."""
    request = f"GET /api/quiz HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n".encode()
    assert parse_simple_request(request) is None


@pytest.mark.parametrize(
    "first",
    [
        "POST /api/quiz HTTP/1.1", "PUT /api/quiz HTTP/1.1",
        "HEADS /api/quiz HTTP/1.1", "get /api/quiz HTTP/1.1",
        "GET /api/quiz HTTP/1.0", "GET /api/quiz?a=b HTTP/1.1", "GET /a%70i HTTP/1.1",
        "GET http://x/api/quiz HTTP/1.1", "GET  /api/quiz HTTP/1.1", "GET /api/quiz",
        "GET /api/quiz HTTP/1.1 ", "\r\nGET /api/quiz HTTP/1.1",
    ],
)  # fmt: skip
def test_other_requests_are_left_alone(first):
    """Any but the plainest method, version or target is left to Tornado."""
    assert parse_simple_request(f"{first}\r\nHost: x\r\n\r\n".encode()) is None


@pytest.mark.parametrize(
    "host",
    ["", "a b", "a,b", "a/b", "user@x", "[::1", "a]", "[a.example]", "a:b", "a:1:2"],
)
def test_an_odd_host_is_left_alone(host):
    """Only one ordinary Host is read here."""
    assert (
        parse_simple_request(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()) is None
    )


def test_a_part_is_left_alone():
    """A head that is not whole, or has anything behind it, is not read."""
    for whole in (PLAIN, POSTED):
        assert not any(parse_simple_request(whole[:end]) for end in range(len(whole)))
        assert parse_simple_request(whole + b"G") is None
        assert parse_simple_request(whole + whole) is None


@pytest.mark.parametrize("option", ["close", "keep-alive", "Keep-Alive"])
def test_the_two_ordinary_options_are_read(option):
    """A connection that is kept, and one that is not."""
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: %s\r\n\r\n" % option.encode()
    assert parse_simple_request(head) == (
        *("GET", "/"),
        {"host": "x", "connection": option},
        b"",
    )
