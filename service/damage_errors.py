"""Errors of what is stored: a row or a block that is damaged or missing, and not handed out."""

from service.errors import ServiceError


class DamagedError(ServiceError):
    """What is stored is damaged or missing; it is not handed out."""


class RowDamagedError(DamagedError):
    """A row of the database holds what no row may hold."""

    def __init__(self, what: str, row_id: str) -> None:
        super().__init__(
            f"The row of {what} {row_id} holds a value that no {what} may have, so it is "
            "not shown; correct it in the database, or restore the database from a backup."
        )
        self.what = what
        self.row_id = row_id


class WeightsDamagedError(DamagedError):
    """The stored codes of a weight version do not match their SHA-256."""

    def __init__(self, chip_id: str, version: int) -> None:
        super().__init__(
            f"The stored codes of version {version} of chip {chip_id} do not match their SHA-256, "
            "so they are not handed out; restore the database from a backup, or calibrate the "
            "chip again."
        )
        self.chip_id = chip_id
        self.version = version


class PolicyDamagedError(DamagedError):
    """A policy holds what no policy may hold."""

    def __init__(self, chip_id: str) -> None:
        super().__init__(
            f"The policy of chip {chip_id} holds a value that no policy may have; set it again."
        )
        self.chip_id = chip_id


class ArtifactMissingError(DamagedError):
    """A stored block is missing in the artifact store."""

    def __init__(self, sha256: str) -> None:
        super().__init__(
            f"The stored block {sha256} is missing; restore the artifact directory from a backup."
        )
        self.sha256 = sha256


class ArtifactCorruptError(DamagedError):
    """A stored block does not match its SHA-256."""

    def __init__(self, sha256: str) -> None:
        super().__init__(
            f"The stored block {sha256} does not match its checksum; restore it from a backup."
        )
        self.sha256 = sha256
