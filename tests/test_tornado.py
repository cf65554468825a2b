"""What is needed of Tornado and of curl, the private names that are used among it: an
upgrade without one of them fails here.
"""

import ast
import inspect
import re
import sys
from pathlib import Path

import pycurl
import pytest
from tornado.curl_httpclient import CurlAsyncHTTPClient
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from aims_server import app  # noqa: F401 - imports every module with a subclass
from aims_server.process import worker  # noqa: F401 - the same

USED = {
    CurlAsyncHTTPClient: {
        "_curl_create",
        "_curls",
        "_finish",
        "_finish_pending_requests",
        "_handle_socket",
        "_handle_timeout",
        "_multi",
        "_process_queue",
        "_set_timeout",
    },
    HTTP1Connection: {
        "_can_keep_alive",
        "_clear_callbacks",
        "_close_callback",
        "_deliver_body",
        "_disconnect_on_finish",
        "_finish_future",
        "_on_connection_close",
        "_parse_headers",
        "_read_chunked_body",
        "_read_finished",
        "_request_headers",
        "_request_start_line",
        "_response_start_line",
        "_write_finished",
    },
    HTTPServerRequest: {"_parse_body"},
    RequestHandler: {"_headers"},
}


def source(kind: type) -> str:
    """Everything that a class of Tornado's inherits from Tornado, as text."""
    return "".join(
        inspect.getsource(base)
        for base in kind.__mro__
        if base.__module__.startswith("tornado.")
    )


def private_names(text: str) -> set[str]:
    """Names with one leading underscore that are methods, or attributes of ``self``."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
    return {name for name in names if name[0] == "_" and name[1] != "_"}


def our_subclasses(kind: type) -> list[type]:
    """The classes of the service that inherit from one of Tornado's."""
    return [
        found
        for name, module in sys.modules.items()
        if name.startswith("aims_server.") and ".demo" not in name
        for found in vars(module).values()
        if isinstance(found, type)
        and issubclass(found, kind)
        and found.__module__ == name
    ]


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, names in USED.items() for name in sorted(names)],
)
def test_tornado_has_it(kind, name):
    """The name is still a part of the class that we take it from."""
    assert name in private_names(source(kind))


@pytest.mark.parametrize("kind", [each for each in USED if each != HTTPServerRequest])
def test_none_is_missing_here(kind):
    """What a subclass shares with Tornado's class, by whatever use, is in the table."""
    theirs = private_names(source(kind))
    used = set()
    for ours in our_subclasses(kind):
        used |= theirs & private_names(inspect.getsource(ours))
    assert used - USED[HTTPServerRequest] == USED[kind]


def test_no_release_with_known_holes_is_let_in():
    """Before 6.5.9 its client for curl bounded no body (docs/reliability.rst P37)."""
    setup = Path(__file__).parents[1].joinpath("setup.py").read_text("utf-8")
    (lowest,) = re.findall(r'"tornado>=(\d+)\.(\d+)\.(\d+),', setup)
    assert tuple(map(int, lowest)) >= (6, 5, 9)


def test_curl_looks_names_up_beside_the_loop():
    """It has AsynchDNS, without which a slow name server would stop a worker."""
    asynch_dns = 1 << 7  # CURL_VERSION_ASYNCHDNS of curl.h, which pycurl has not
    assert pycurl.version_info()[4] & asynch_dns
