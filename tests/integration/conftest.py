"""A database, a service and a lab for every test; servers and what is seeded are shared.

A test marked `both_databases` runs on SQLite and on PostgreSQL; all others run on SQLite.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbos import DBOS
from fastapi.testclient import TestClient

from service.app import create_app
from service.db.migrate import upgrade
from service.db.session import Database
from service.settings import Settings
from tests.integration.chip_page_lab import signed_in
from tests.integration.fleet_lab import Fleet, a_fleet
from tests.integration.jobs_lab import QUEUE_POLL_S, Lab, SeededLab, a_lab
from tests.integration.lab_seed import seed
from tests.postgres import Server, as_text, running_server
from tests.recording import RecordingEngine
from tests.warm.client import WarmServer
from tests.world import World


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both databases for the tests that ask for both."""
    both = metafunc.definition.get_closest_marker("both_databases") is not None
    if both and "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that the migrations have built, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "tandemcal.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server for all tests of this process."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgres(postgres: Server) -> Iterator[str]:
    """The name of a database that the migrations have built, to be copied."""
    url = postgres.create()
    upgrade(as_text(url))
    DBOS.migrate(as_text(url))
    yield str(url.database)
    postgres.drop(url)


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """sqlite or postgresql."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def empty_database(
    database_kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite'}"
    else:
        server: Server = request.getfixturevalue("postgres")
        url = server.create()
        yield as_text(url)
        server.drop(url)


@pytest.fixture
def settings(
    database_kind: str, tmp_path: Path, migrated: Path, request: pytest.FixtureRequest
) -> Iterator[Settings]:
    """Those of an installation that has its tables and nothing else."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    if database_kind == "sqlite":
        shutil.copy(migrated, data_dir)
        yield Settings(
            data_dir=data_dir, queue_poll_s=float(QUEUE_POLL_S), served_hosts=("testserver",)
        )
    else:
        server: Server = request.getfixturevalue("postgres")
        url = server.create(request.getfixturevalue("migrated_postgres"))
        yield Settings(data_dir=data_dir, database_url=as_text(url), served_hosts=("testserver",))
        server.drop(url)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database)
    yield database
    database.close()


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    """The service with an engine that only remembers; the client holds its first key."""
    engine = RecordingEngine()
    with TestClient(create_app(settings, engine)) as client:
        key = settings.key_file.read_text().strip()
        client.headers["Authorization"] = f"Bearer {key}"
        yield World(client, engine, key)


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


@pytest.fixture
def browser(world: World) -> TestClient:
    """A browser that is signed in with the first key, and follows no redirects."""
    return signed_in(world, world.key)
