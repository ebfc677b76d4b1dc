"""Uploads of safetensors blocks: streamed to a file, their checksum compared, then read."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from ltl_core.block_metadata import read_metadata
from ltl_core.errors import CorruptTensorsError
from ltl_core.teaching.checking import Arrays, read_arrays
from service.digests import CONTENT_DIGEST, read_digest_header
from service.request_errors import ChecksumMismatchError, DigestMissingError, TooLargeError
from service.schemas.base import BYTES, SAFETENSORS

BINARY = {"schema": {"type": "string", "format": "binary"}}
# How the OpenAPI document describes an upload: FastAPI knows no body that a route streams.
UPLOAD: dict[str, Any] = {
    "parameters": [
        {
            "name": CONTENT_DIGEST,
            "in": "header",
            "required": True,
            "description": "SHA-256 of the body (RFC 9530): sha-256=:BASE64:",
            "schema": {"type": "string", "pattern": "^sha-256=:[A-Za-z0-9+/]{43}=:$"},
        }
    ],
    "requestBody": {
        "required": True,
        "content": dict.fromkeys((BYTES, SAFETENSORS), BINARY),
    },
}


JSON = "application/json"


class Upload(NamedTuple):
    """A complete file of an upload; its checksum is the one that was announced."""

    path: Path
    sha256: str


def with_json(upload: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Describe an upload that may be JSON instead, of this model."""
    body = upload["requestBody"]
    schema = {"schema": {"$ref": f"#/components/schemas/{model}"}}
    return {**upload, "requestBody": body | {"content": body["content"] | {JSON: schema}}}


def is_json(request: Request) -> bool:
    """Tell whether the body is declared as JSON."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON


async def receive(request: Request, scratch: Path, limit: int) -> Upload:
    """Stream the body of a request to a file in `scratch`; at most `limit` bytes are accepted.

    Raises DigestMissingError without a digest, TooLargeError above the limit,
    ChecksumMismatchError, and CorruptTensorsError if the connection fails.
    """
    announced = _announced_sha256(request)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise TooLargeError(limit)
    upload = await _stream(request, scratch / "upload", limit)
    if upload.sha256 != announced:
        raise ChecksumMismatchError(announced, upload.sha256)
    return upload


def load(path: Path) -> tuple[Arrays, dict[str, str]]:
    """Read the arrays and the text metadata of a safetensors file. Raises CorruptTensorsError."""
    data = path.read_bytes()
    return read_arrays(data), read_metadata(data)


def _announced_sha256(request: Request) -> str:
    sha256 = read_digest_header(request.headers.get(CONTENT_DIGEST, ""))
    if sha256 is None:
        raise DigestMissingError
    return sha256.hex()


async def _stream(request: Request, path: Path, limit: int) -> Upload:
    sha256, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        try:
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise TooLargeError(limit)
                sha256.update(part)
                await run_in_threadpool(file.write, part)
        except ClientDisconnect:
            raise CorruptTensorsError("the connection was closed before the end") from None
    return Upload(path, sha256.hexdigest())
