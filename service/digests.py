"""SHA-256 of a content, and the headers `Content-Digest` (RFC 9530) and `ETag`."""

import base64
import binascii
import hashlib
import re

CONTENT_DIGEST = "Content-Digest"
_VALUE = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]+):")


def sha256_hex(content: bytes) -> str:
    """Return the SHA-256 of the content in hexadecimal digits, as the store and tables hold it."""
    return hashlib.sha256(content).hexdigest()


def etag(content: bytes) -> str:
    """Return the value of the header `ETag` for this content."""
    return f'"{sha256_hex(content)[:32]}"'


def content_digest(content: bytes) -> str:
    """Return the value of the header `Content-Digest` for this content."""
    return digest_header(hashlib.sha256(content).digest())


def digest_header(sha256: bytes) -> str:
    """Return the value of the header `Content-Digest` for a SHA-256 that is known already."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def read_digest_header(value: str) -> bytes | None:
    """Return the SHA-256 that the header `Content-Digest` announces, or None if there is none.

    The header may hold digests of other algorithms beside it.
    """
    found = _VALUE.search(value)
    try:
        sha256 = base64.b64decode(found.group(1), validate=True) if found else b""
    except binascii.Error:
        return None
    return sha256 if len(sha256) == hashlib.sha256().digest_size else None
