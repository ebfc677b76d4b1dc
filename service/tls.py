"""TLS of servers and clients: certificates from files, and one certificate authority, pinned."""

import ssl
from pathlib import Path
from typing import Literal

from ltl_core.errors import CalibrationError


class TlsFilesError(CalibrationError):
    """The files of a certificate, its key or an authority cannot be used."""

    def __init__(self, what: str, error: Exception) -> None:
        super().__init__(f"TLS cannot be set up from {what} ({error}); give files in PEM format.")


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the context of a server with this certificate. Raises TlsFilesError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # that of ssl too
        raise TlsFilesError(f"{certificate} and {key}", error) from error
    return context


def client_context(authority: Path | None) -> ssl.SSLContext:
    """Return the context of a client that trusts this authority alone.

    Without one it trusts those of the operating system. Raises TlsFilesError.
    """
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise TlsFilesError(str(authority), error) from error


def event_loop(context: ssl.SSLContext | None) -> Literal["auto", "asyncio"]:
    """Return the value of uvicorn's `Config(loop=...)`.

    uvloop reads the first bytes of a connection before TLS can be started on it.
    """
    return "auto" if context is None else "asyncio"
