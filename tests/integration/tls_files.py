"""A certificate authority of a test, and a certificate that it gave."""

from pathlib import Path
from typing import NamedTuple

import trustme


class TlsFiles(NamedTuple):
    """A certificate for 127.0.0.1, its key, and its authority, as PEM files."""

    certificate: Path
    key: Path
    authority: Path


def make_tls_files(folder: Path) -> TlsFiles:
    found = TlsFiles(*(folder / f"{name}.pem" for name in TlsFiles._fields))
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(found.key)
    found.certificate.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
    authority.cert_pem.write_to_path(found.authority)
    return found
