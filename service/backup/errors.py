"""What stands against a backup, or against its way back."""

from service.errors import ServiceError


class BackupError(ServiceError):
    """The reason, as a sentence for whoever typed the command."""


class DumpToolMissingError(BackupError):
    def __init__(self, tool: str) -> None:
        super().__init__(
            f"PostgreSQL is backed up by its own {tool}, which is not installed here: install the "
            "client of the server's version (on Debian: postgresql-client), or use the backup of "
            "whoever runs the server, and copy the artifact directory after it."
        )
        self.tool = tool


class DumpFailedError(BackupError):
    def __init__(self, tool: str, said: str) -> None:
        super().__init__(f"{tool} failed: {said.strip() or 'it said nothing'}")
        self.tool = tool


class DatabaseInUseError(BackupError):
    def __init__(self, table: str, database: str) -> None:
        super().__init__(
            f"The database {database} has rows already (in {table}): a backup is restored into an "
            "empty one. Name another with TANDEMCAL_DATABASE_URL or TANDEMCAL_DATA_DIR."
        )
        self.table = table


class NotABackupError(BackupError):
    def __init__(self, directory: str, reason: str) -> None:
        super().__init__(f"{directory} cannot be restored: {reason}.")


class BlocksMissingError(BackupError):
    """The backup was written; the store itself lacks these."""

    def __init__(self, missing: list[str]) -> None:
        named = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        super().__init__(
            f"The backup is written, but {len(missing)} blocks that rows name are not in the "
            f"artifact store: {named}"
        )
        self.missing = tuple(missing)
