"""Each error of the client has its exit code; a subclass does not hide behind its base."""

import pytest

from service.cli.exit_codes import ExitCode, exit_code_of
from service.client.errors import (
    DownloadError,
    JobEndedError,
    ServiceUnreachableError,
    TandemcalError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JobEndedError("0badcafe", "failed", None), 1),
        (TandemcalError(409, {}), 3),
        (DownloadError("/v1/chips"), 3),
        (ServiceUnreachableError("http://lab", "no route"), 4),
    ],
)
def test_an_error_has_its_exit_code(error: TandemcalError, code: int) -> None:
    assert exit_code_of(error) == ExitCode(code)
