"""Requests that are refused or too large, as bytes on the wire."""

HOST = b"Host: x\r\n"
POST = b"POST /api/login HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"

REFUSED_FRAMING = {
    "content-length and transfer-encoding": POST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "too large a content-length and transfer-encoding": POST
    + b"Content-Length: 70000\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unequal content-lengths": POST
    + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "equal content-lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "content-length list": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "signed content-length": POST + b"Content-Length: +2\r\n\r\n{}",
    "underscored content-length": POST + b"Content-Length: 1_0\r\n\r\n{}",
    "negative content-length": POST + b"Content-Length: -1\r\n\r\n{}",
    "hexadecimal content-length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "blank content-length": POST + b"Content-Length: \r\n\r\n{}",
    "transfer-encoding twice": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "transfer-encoding in HTTP/1.0": POST.replace(b"1.1", b"1.0")
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before colon": b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n",
    "chunk size 0x1": POST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    "signed chunk size": POST
    + b"Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
    "LF in a chunk extension": POST
    + b"Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n",
    "chunk without its end": POST
    + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab0\r\n\r\n",
    "bare CR": b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
    "bare CR before a request": b"\rGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "CR behind an empty line": b"\r\n\rGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "CR before the first CRLF": b"GET /health HTTP/1.1\r\r\nHost: x\r\n\r\n",
    "HTTP/1.2 without a host": b"GET /health HTTP/1.2\r\n\r\n",
    "NUL": b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
    "NUL in the path": b"GET /hea\0lth HTTP/1.1\r\nHost: x\r\n\r\n",
    "space before the first header": b"GET /health HTTP/1.1\r\n Host: x\r\n\r\n",
    "folded line": b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "bad host": b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "address without its bracket": b"GET /health HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "host with two colons": b"GET /health HTTP/1.1\r\nHost: x:80:80\r\n\r\n",
    "port without digits": b"GET /health HTTP/1.1\r\nHost: x:http\r\n\r\n",
    "LF for CRLF": b"GET /health HTTP/1.1\nHost: x\n\n",
    "one LF among CRLF": b"GET /health HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
    "no version": b"GET /health\r\nHost: x\r\n\r\n",
    "bad version": b"GET /health HTTP/1.x\r\nHost: x\r\n\r\n",
    "HTTP/3.0": b"GET /health HTTP/3.0\r\nHost: x\r\n\r\n",
    "no method": b" /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "binary": bytes(range(256)) + b"\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "header without a name": b"GET /health HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
    "header without a colon": b"GET /health HTTP/1.1\r\nHost: x\r\nabc\r\n\r\n",
    "control character in a value": b"GET / HTTP/1.1\r\nHost: x\r\nA: \x07\r\n\r\n",
}

TOO_LARGE = {
    "70 KB header": (
        431,
        b"GET /health HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
    ),
    "33 KB header that does not end": (
        431,
        b"GET /health HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 33_000,
    ),
    "300 headers": (
        431,
        b"GET /health HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"A%d: b\r\n" % n for n in range(300))
        + b"\r\n",
    ),
    "5000 headers": (
        431,
        b"GET /health HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"A%d: b\r\n" % n for n in range(5000))
        + b"\r\n",
    ),
    "257 bytes of a name": (
        431,
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"A" * 257 + b": b\r\n\r\n",
    ),
    "9 KB target": (
        414,
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    "100 KB target": (
        414,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    "40 KB target behind an empty line": (
        414,
        b"\r\nGET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    "1001 arguments": (
        414,
        b"GET /api/subject-attendance?"
        + b"&".join(b"a%d=" % n for n in range(1001))
        + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
}

BAD_BODIES = [
    b"", b" ", b"{", b"}", b"[]", b"[[]]", b"1", b"-", b"nul", b"null", b"true", b'""',
    b'"', b"{'a': 1}", b'{"username"}', b'{"username":}', b'{"username": "u",}',
    b'{"username": "u"}', b'{"password": "p"}', b'{"username": "u", "password": 1}',
    b'{"username": [], "password": "p"}', b'{"username": {}, "password": "p"}',
    b'{"username": null, "password": null}', b'{"username": true, "password": "p"}',
    b'{"username": "u", "password": NaN}', b'{"username": "u", "password": Infinity}',
    b'{"username": 1e999, "password": "p"}', b'{"username": "\\ud800", "password": 1}',
    b'{"username": "\\x", "password": "p"}', b'{"username": "\n", "password": "p"}',
    b'{"username": "a\\u0000b", "password": "p"}', b'\xef\xbb\xbf{"username": "u"}',
    b'{"username": "a\\r\\nb", "password": "p"}', b'{"username": "\xc3\x28"}',
    b"\xff\xfe{\x00}\x00", b"\x1f\x8b\x08\x00", b"[" * 5000, b'{"a":' * 5000,
    b"[" * 100 + b"]" * 100, b'{"username": "' + b"a" * 5000 + b'", "password": "p"}',
    b'{"username": ' + b"9" * 5000 + b', "password": "p"}', b"/**/{}", b"{}{}", b"{} x",
    b"username=u&password=p", b"<xml/>", b"--x\r\n\r\n", b"%00", b"\0", b"\0" * 100,
]  # fmt: skip

BAD_TOKENS = [
    b"", b" ", b"Bearer", b"Bearer ", b"bearer\t", b"Basic dTpw", b"Bearer \x80",
    b"Bearer a b", b"Bearer a,b", b"Bearer <a>", b"Bearer a\\b", b"Bearer 'a'",
    b"Bearer {}", b"Bearer a;b", b"Bearer a:b", b"Bearer a@b", b"Bearer a%20b",
    b"Bearer a&b", b"Bearer a?b", b"Bearer a#b", b"Bearer a!b", b"Bearer a$b",
    b"Bearer a(b)", b"Bearer a*b", b"Bearer a|b", b"Bearer a^b", b"Bearer \xc3\xa9",
    b"Bearer " + b"a" * 4097, b"Bearer " + b"a" * 20_000, b"BearerX a", b"Token a",
    b"Bearer Bearer a", b'Bearer "a"', b"Bearer [a]", b"Bearer `a`", b"Digest a=b",
]  # fmt: skip

BAD_TARGETS = [
    b"//", b"//evil.example/api/quiz", b"/api/quiz/..", b"/../etc/passwd",
    b"/%2e%2e/", b"/%00", b"/%ff", b"/%", b"/%zz", b"/api/quiz%20", b"/api/quiz;a",
    b"/api//quiz", b"/API/QUIZ", b"*", b"http://evil.example/x", b"evil.example:443",
    b"/api/\xc3\xa9", b"/x?a=%ff", b"/.env", b"/metrics/", b"/health/x", b"/docs/../x",
    b"/api/subject-attendance?subject=%ff&studentId=1&cfId=1",
    b"/api/subject-attendance?subject=a&studentId=a&cfId=1",
    b"/api/subject-attendance?subject=a&studentId=1&cfId=1e9",
    b"/api/subject-attendance?subject[]=a",
]  # fmt: skip


def corpus() -> list[bytes]:
    """Every bad input as bytes on the wire; none of them is a valid request."""
    inputs = [*REFUSED_FRAMING.values(), *(sent for _, sent in TOO_LARGE.values())]
    for body in BAD_BODIES:
        inputs.append(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    for token in BAD_TOKENS:
        inputs.append(b"GET /api/quiz HTTP/1.1\r\n" + HOST)
        inputs[-1] += b"Authorization: " + token + b"\r\n\r\n"
    for target in BAD_TARGETS:
        inputs.append(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    return inputs
