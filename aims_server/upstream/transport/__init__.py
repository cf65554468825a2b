"""Makes one HTTP call to the platform with curl.

The map, in call order::

    transport         one call: a Reply, or one of our errors
    curl_pool         gives calls to curl handles, and ends them
    preconnections    connections opened before they are needed
    handles           the handles of the pool
    curl_options      the options set on a handle
    handle_state      curl's callbacks on a handle
    transfer          a call and its outcome
    kept_connections  which idle connections may still carry a call
    gzip_body         unpacks a body as it arrives
    causes            why a call failed
    retry_after       the header Retry-After as seconds
    certificates      the trusted certificate authorities
    curl_sockets      curl's sockets in the event loop
    curl_alarm        curl's timer in the event loop

Knows only addresses of the platform, and no student.
"""

from .transport import Reply, Transport

__all__ = ["Reply", "Transport"]
