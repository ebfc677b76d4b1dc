"""Compression of answers, for browsers that take it."""

import gzip

from fastapi import Request, Response

_LEAST = 1000  # bytes: less is not worth it
_LEVEL = 5


def compressed(request: Request, answer: Response) -> Response:
    """Compress the body of an answer if the request allows it and the body is not small."""
    answer.headers["Vary"] = "Accept-Encoding"
    if len(answer.body) < _LEAST or not _takes_gzip(request):
        return answer
    answer.body = gzip.compress(bytes(answer.body), _LEVEL, mtime=0)
    answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Content-Length"] = str(len(answer.body))
    return answer


def _takes_gzip(request: Request) -> bool:
    """Tell whether the request names gzip, and does not refuse it with a weight of zero."""
    for coding in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
