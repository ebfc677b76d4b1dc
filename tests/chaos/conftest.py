"""The fleet of these tests starts from the seeded lab of the integration tests."""

from tests.integration.conftest import seeded_lab, warm

__all__ = ["seeded_lab", "warm"]
