"""A lab for tests of jobs: seeded once, copied for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.fleet_lab import Fleet, a_fleet
from tests.integration.jobs_lab import Lab, SeededLab, a_lab, seed
from tests.postgres import Server
from tests.warm.client import WarmServer


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmServer]:
    """It starts processes of the `tandemcal` command for all tests."""
    server = WarmServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def seeded_lab(tmp_path_factory: pytest.TempPathFactory, warm: WarmServer) -> SeededLab:
    """A data directory with a teacher, its targets and a student."""
    root = tmp_path_factory.mktemp("seeded")
    return SeededLab(root, seed(root), warm)


@pytest.fixture
def lab(seeded_lab: SeededLab, tmp_path: Path) -> Iterator[Lab]:
    """A lab of the test's own."""
    with a_lab(seeded_lab, tmp_path) as lab:
        yield lab


@pytest.fixture
def fleet(
    seeded_lab: SeededLab, postgres: Server, migrated_postgres: str, tmp_path: Path
) -> Iterator[Fleet]:
    """A lab on PostgreSQL, whose workers notice a death within seconds."""
    with a_fleet(postgres, migrated_postgres, seeded_lab, tmp_path) as fleet:
        yield fleet
