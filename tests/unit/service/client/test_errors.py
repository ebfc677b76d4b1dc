"""What an error of the client says of the problem that the service answered with."""

import pytest

from service.client.errors import TandemcalError

AGAIN = "Correct these fields and send the request again: /kind: 'x' is no kind."


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ([{"pointer": "/kind", "message": "'x' is no kind"}], AGAIN),
        ([{"pointer": "/seed", "message": "too large"}], f"{AGAIN} (/seed: too large)"),
        ([{"parameter": "limit", "message": "too large"}], f"{AGAIN} (limit: too large)"),
        ([{"message": "no JSON"}, "?"], f"{AGAIN} (the body: no JSON)"),
        (None, AGAIN),
    ],
)
def test_each_fault_is_said_once(errors: object, said: str) -> None:
    assert str(TandemcalError(422, {"detail": AGAIN, "errors": errors})) == said
