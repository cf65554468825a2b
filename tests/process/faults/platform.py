"""Faults of the platform, and of the way to it."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Thread

from .bench import COLLEGE, Bench, Provoke

TLS = Path(__file__).parents[2] / "upstream" / "transport" / "tls"
SELF_SIGNED = TLS / "self_signed.pem"


def ill(seconds: int = 20, **fault: object) -> Provoke:
    """The platform does that to one call, which may take so long."""

    def provoke(bench: Bench) -> tuple[str, str]:
        service = bench.serve(
            REQUEST_TIMEOUT_SECONDS=str(seconds), GATHER_TIMEOUT_SECONDS=str(seconds)
        )
        after = len(service.log)
        bench.platform.turn(clear="*", faults={"*": fault})
        service.get("/api/quiz", bench.token())
        bench.platform.turn(clear="*")
        return bench.told(service, after=after)

    return provoke


def another_student(bench: Bench) -> tuple[str, str]:
    """The platform mixes students up."""
    service = bench.serve()
    after = len(service.log)
    bench.platform.turn(switches={"answers_for": COLLEGE.student(1999).id})
    service.get("/api/attendance", bench.token())
    bench.platform.turn(switches={"answers_for": None})
    return bench.told(service, after=after)


def elsewhere(base: str, **variables: str) -> Provoke:
    """The platform is looked for at another address."""

    def provoke(bench: Bench) -> tuple[str, str]:
        service = bench.serve(
            EXTERNAL_API_BASE=base, REQUEST_TIMEOUT_SECONDS="20", **variables
        )
        after = len(service.log)
        service.get("/api/quiz", bench.token())
        return bench.told(service, after=after)

    return provoke


def not_tls(bench: Bench) -> tuple[str, str]:
    """Plain HTTP answers where TLS is expected."""
    return elsewhere(bench.platform.url.replace("http://", "https://"))(bench)


def wrong_certificate(bench: Bench) -> tuple[str, str]:
    """Nobody who is trusted has signed it."""
    with _tls_server() as port:
        return elsewhere(f"https://127.0.0.1:{port}")(bench)


def circuit(bench: Bench) -> tuple[str, str]:
    """Calls of several students fail whom the platform has known before."""
    nothing_kept = {"CACHE_TTL_SECONDS": "0", "CACHE_STALE_SECONDS": "0"}
    service = bench.serve(CACHE_REFRESH_FLOOR_SECONDS="0", **nothing_kept)
    students = [bench.token() for _ in range(4)]
    for token in students:
        service.get("/api/quiz", token)
    bench.platform.turn(faults={"*": {"kind": "status", "status": 500}})
    for token in students:
        service.get("/api/quiz", token)
    bench.platform.turn(clear="*")
    return bench.told_in(service, "The circuit to the platform's")


@contextmanager
def _tls_server() -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SELF_SIGNED)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    with suppress(OSError), client:
                        context.wrap_socket(client, server_side=True).close()

        serving = Thread(target=accept, daemon=True)
        serving.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
        serving.join()


FAULTS: dict[str, Provoke] = {
    "its name is not found": elsewhere("http://platform.invalid/api"),
    "nobody listens there": elsewhere("http://127.0.0.1:9/api"),
    "nobody listens at EXTERNAL_API_PROXY": elsewhere(
        "http://platform.invalid/api", EXTERNAL_API_PROXY="http://127.0.0.1:9"
    ),
    "it speaks no TLS": not_tls,
    "a certificate that nobody trusts": wrong_certificate,
    "it does not answer": ill(1, kind="hang"),
    "it closes the connection early": ill(kind="reset"),
    "it answers with a 500": ill(kind="status", status=500),
    "it answers with a 503": ill(kind="status", status=503),
    "it asks for a pause (429)": ill(3, kind="rate_limited", retry_after="1"),
    "it answers with an HTML page": ill(kind="html"),
    "it answers with broken JSON": ill(kind="broken_json"),
    "it redirects": ill(kind="redirect"),
    "it refuses, as its firewall does (403)": ill(kind="status", status=403),
    "EXTERNAL_API_BASE has a wrong path (404)": ill(kind="html", status=404),
    "its answer is too large": ill(kind="gzip_bomb"),
    "it answers with a malformed header": ill(kind="bad_header"),
    "it answers for another student": another_student,
    "its breaker is open": circuit,
}
