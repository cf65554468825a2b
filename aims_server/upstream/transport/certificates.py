"""The certificate authorities that calls trust: the system's and additional ones."""

import os
from pathlib import Path
from typing import Final

__all__ = ["SYSTEM_BUNDLES", "TrustedAuthorities"]

# Where pycurl looks for the system's bundle, in its order.
SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


class TrustedAuthorities:
    """The system's bundle and ``further`` certificates in PEM form, as one file in
    memory.

    >>> trusted = TrustedAuthorities(b"-----BEGIN CERTIFICATE-----")
    >>> Path(trusted.path).read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
    True
    >>> trusted.close()

    Curl takes several authorities only from one file. It caches what it reads from a
    file but not from a string, and reading takes 10 ms for each new connection.
    """

    def __init__(self, further: bytes) -> None:
        system = next(filter(Path.exists, map(Path, SYSTEM_BUNDLES)), None)
        self._fd = os.memfd_create("certificate-authorities")
        with os.fdopen(os.dup(self._fd), "wb") as file:
            file.write(further + b"\n")
            if system is not None:
                file.write(system.read_bytes())

    @property
    def path(self) -> str:
        """A path by which only this process can open the file."""
        return f"/proc/self/fd/{self._fd}"

    def close(self) -> None:
        """Delete the file; open connections stay open."""
        os.close(self._fd)
