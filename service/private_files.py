"""Files that the owner of the process alone can read: databases, keys, weights."""

import os
from pathlib import Path

_OWNER_ALONE = 0o077  # taken away from group and others


def keep_private(data_dir: Path) -> None:
    """Create the data folder, and let nobody else read it or what this process writes.

    Databases of earlier versions, which anybody could read, are closed too.
    """
    os.umask(os.umask(0) | _OWNER_ALONE)
    data_dir.mkdir(parents=True, exist_ok=True)
    if data_dir.stat().st_uid == os.getuid():
        data_dir.chmod(data_dir.stat().st_mode & ~_OWNER_ALONE)
        for database in data_dir.glob("*.sqlite*"):
            database.chmod(database.stat().st_mode & ~_OWNER_ALONE)


def write_private(path: Path, text: str) -> None:
    """Write one line to a new file that its owner alone can read, in place of an earlier one."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
