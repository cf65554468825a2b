"""One HTTP call to the platform, made with curl: the call, its answer, its end.

The map, in call order::

    transport         one call: a Reply, or one of our errors
    curl_pool         which handle makes it, and when
    preconnections    connections opened before they are needed
    handles           the handles of the pool
    curl_options      what is set on them
    handle_state      curl's callbacks on one of them
    transfer          a call and its outcome
    kept_connections  which idle connections may still carry a call
    gzip_body         a packed body, unpacked as it arrives
    causes            why a call failed
    retry_after       when the platform wishes to be asked again
    certificates      the authorities that are trusted
    curl_sockets      curl's sockets in the event loop
    curl_alarm        curl's timer there

Knows the platform by its addresses only, and no student.
"""

from .transport import Reply, Transport

__all__ = ["Reply", "Transport"]
