"""Downloads of safetensors blocks, and how the OpenAPI document describes them."""

from fastapi import Request, Response

from service.api.context import Responses
from service.api.uploads import BINARY
from service.digests import CONTENT_DIGEST, digest_header
from service.schemas.base import BYTES, SAFETENSORS

DOWNLOAD: Responses = {
    200: {
        "content": dict.fromkeys((BYTES, SAFETENSORS), BINARY),
        "description": "A safetensors block",
    }
}


NIR_DOWNLOAD: Responses = {
    200: {"content": {BYTES: BINARY}, "description": "A NIR file, in the format HDF5"}
}


def block_answer(request: Request, block: bytes, sha256: str) -> Response:
    """Answer with a block; a client that asks for plain bytes alone gets this media type."""
    accepted = request.headers.get("accept", "")
    plain = BYTES in accepted and SAFETENSORS not in accepted
    headers = {CONTENT_DIGEST: digest_header(bytes.fromhex(sha256)), "ETag": f'"{sha256}"'}
    return Response(block, media_type=BYTES if plain else SAFETENSORS, headers=headers)
