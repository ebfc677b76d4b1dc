"""Errors of backup and restore."""

from service.errors import ServiceError


class BackupError(ServiceError):
    """Base class: a backup or a restore failed; the message says why."""


class DumpToolMissingError(BackupError):
    """A program of PostgreSQL that the backup needs is not installed."""

    def __init__(self, tool: str) -> None:
        super().__init__(
            f"A PostgreSQL database needs {tool}, which is not installed here. Install the client "
            "programs of the server's version (on Debian: postgresql-client), or back up the "
            "database on its server and copy the artifact directory afterwards."
        )
        self.tool = tool


class DumpFailedError(BackupError):
    """pg_dump or pg_restore ended with an error."""

    def __init__(self, tool: str, said: str) -> None:
        super().__init__(f"{tool} failed: {said.strip() or 'it printed no message'}")
        self.tool = tool


class DatabaseInUseError(BackupError):
    """The database to restore into is not empty."""

    def __init__(self, table: str, database: str) -> None:
        super().__init__(
            f"The database {database} has rows already (in {table}), but a backup can only be "
            "restored into an empty one. Choose another with TANDEMCAL_DATABASE_URL or "
            "TANDEMCAL_DATA_DIR."
        )
        self.table = table


class NotABackupError(BackupError):
    """The folder holds no complete backup for this kind of database."""

    def __init__(self, directory: str, reason: str) -> None:
        super().__init__(f"{directory} cannot be restored: {reason}.")


class BlocksMissingError(BackupError):
    """The backup was written, but blocks are missing in the store itself."""

    def __init__(self, missing: list[str]) -> None:
        named = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        super().__init__(
            f"The backup was written, but the artifact store lacks {len(missing)} blocks that rows "
            f"refer to: {named}"
        )
        self.missing = tuple(missing)
