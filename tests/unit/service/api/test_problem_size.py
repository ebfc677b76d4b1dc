"""No problem document is larger than its limit, whatever it tells of."""

import json

import pytest

from service.api.problem_size import LARGEST, within_limits

BASE = {"type": "/problems/x", "title": "X", "status": 422, "detail": "A sentence."}


def test_small_documents_stay_as_they_are() -> None:
    content = {**BASE, "errors": [{"pointer": f"/{i}", "message": "wrong"} for i in range(100)]}
    assert within_limits(content) == content


@pytest.mark.parametrize(
    "own",
    [
        {"errors": [{"pointer": "/" + "p" * 300, "message": "m" * 900}] * 5000},
        {"missing": [f"layer{i}.weight" for i in range(50_000)]},
        {"detail": "d" * 100_000},
        {"instance": "/" + "i" * 60_000},
        {f"field{i}": "v" * 500 for i in range(1000)},
        {"nested": [{"names": ["n" * 500] * 100}] * 100},
    ],
)
def test_large_documents_keep_their_beginning(own: dict[str, object]) -> None:
    content = {**BASE, **own}
    assert len(json.dumps(content)) > LARGEST
    found = within_limits(content)
    assert len(json.dumps(found)) <= LARGEST
    assert found["type"] == BASE["type"]
    assert str(found["detail"]).startswith(str(content["detail"])[:100])
