"""The service in this process, as the integration tests have it."""

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
