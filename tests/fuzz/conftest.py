"""One service for all campaigns."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import requests
from tests.fuzz.lab import FuzzedLab, fuzzed_lab
from tests.integration.conftest import migrated

__all__ = ["migrated"]


@pytest.fixture(scope="module")
def lab(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuzzedLab]:
    requests.register()
    with fuzzed_lab(migrated, tmp_path_factory.mktemp("fuzzed")) as lab:
        yield lab
