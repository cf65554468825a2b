"""The handles of a pool."""

import pycurl
import pytest

from aims_server.upstream.transport.curl_options import LastingOptions
from aims_server.upstream.transport.handles import Handles
from aims_server.upstream.transport.kept_connections import KeptConnections


def test_a_handle_is_never_given_with_some_of_its_options():
    """One that curl takes no option of fails each call that would have it: it would
    else connect without a proxy, or ask the environment for one.
    """
    options = LastingOptions(proxy="http://\N{SNOWMAN}.example")
    handles = Handles(pycurl.Curl, 1, 1000, options, KeptConnections())
    for _ in range(2):
        with pytest.raises(UnicodeEncodeError):
            handles.take("http://127.0.0.1:1/")
