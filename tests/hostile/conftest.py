"""The service in this process, as the integration tests have it."""

from collections.abc import Iterator

import pytest

from tests.hostile.webhook_lab import Sending
from tests.integration.conftest import (
    database,
    database_kind,
    empty_database,
    lab,
    migrated,
    migrated_postgres,
    postgres,
    pytest_generate_tests,
    seeded_lab,
    settings,
    warm,
    world,
)
from tests.webhook_receiver import Receiver, receiving
from tests.world import World

__all__ = [
    "database",
    "database_kind",
    "empty_database",
    "lab",
    "migrated",
    "migrated_postgres",
    "postgres",
    "pytest_generate_tests",
    "seeded_lab",
    "settings",
    "warm",
    "world",
]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as one:
        yield one


@pytest.fixture
def sending(world: World) -> Iterator[Sending]:
    made = Sending(world)
    yield made
    made.sender.stop()
