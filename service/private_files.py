"""Files that the owner of the process alone can read: databases, keys, weights."""

import os
import tempfile
from pathlib import Path

_OWNER_ALONE = 0o077  # taken away from group and others


class DataFolderError(Exception):
    """The data folder cannot be made or written to."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            f"Cannot write to the data folder {folder} ({reason}). "
            "Make it writable, or set TANDEMCAL_DATA_DIR to another folder."
        )


def keep_private(data_dir: Path) -> None:
    """Create the data folder, and let nobody else read it or what this process writes.

    Databases of earlier versions, which anybody could read, are closed too. Raises DataFolderError
    if the folder cannot be made or written to.
    """
    os.umask(os.umask(0) | _OWNER_ALONE)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=data_dir).close()
        _close(data_dir)
    except OSError as error:
        raise DataFolderError(data_dir, error.strerror or str(error)) from error


def _close(data_dir: Path) -> None:
    if data_dir.stat().st_uid == os.getuid():
        data_dir.chmod(data_dir.stat().st_mode & ~_OWNER_ALONE)
        for database in data_dir.glob("*.sqlite*"):
            database.chmod(database.stat().st_mode & ~_OWNER_ALONE)


def write_private(path: Path, text: str) -> None:
    """Write one line to a new file that its owner alone can read, in place of an earlier one.

    A crash or a power cut leaves the earlier file or the new one, whole. Raises OSError; then an
    earlier file is as it was.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}-")  # 0o600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise
