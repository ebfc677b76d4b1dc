"""Compression of answers, for browsers that take it."""

import gzip

from fastapi import Request, Response

_LEAST = 1000  # bytes: less is not worth it
_LEVEL = 5


def compressed(request: Request, answer: Response) -> Response:
    """Compress the body of an answer if the request allows it and the body is not small."""
    answer.headers["Vary"] = "Accept-Encoding"
    accepted = [one.partition(";")[0].strip() for one in _accepted(request).split(",")]
    if len(answer.body) < _LEAST or "gzip" not in accepted:
        return answer
    answer.body = gzip.compress(bytes(answer.body), _LEVEL, mtime=0)
    answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Content-Length"] = str(len(answer.body))
    return answer


def _accepted(request: Request) -> str:
    return request.headers.get("accept-encoding", "").lower()
