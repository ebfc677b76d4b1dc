"""Storms begin with the lab that other tests of jobs begin with."""

from tests.integration.conftest import seeded_lab, warm

__all__ = ["seeded_lab", "warm"]
