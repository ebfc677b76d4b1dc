"""Conditions that join chips and fingerprints with the weight versions that belong to them."""

from sqlalchemy import ColumnElement, and_

from service.db.tables import Chip, WeightVersion
from service.db.upkeep_tables import Fingerprint


def in_force() -> ColumnElement[bool]:
    """Condition on a chip joined with its weight versions: the version is the one in force."""
    return and_(WeightVersion.chip_id == Chip.id, WeightVersion.version == Chip.version_in_force)


def of_fingerprint() -> ColumnElement[bool]:
    """Condition on a fingerprint joined with weight versions: the version was in force then."""
    return and_(
        WeightVersion.chip_id == Fingerprint.chip_id,
        WeightVersion.version == Fingerprint.version,
    )
