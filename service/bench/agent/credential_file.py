"""The agent's own credential for each service: it proves that an agent is the one of before.

The service gives another one at every registration. A crash before it is stored does no harm: the
service accepts the one before until the new one has been used.
"""

import json
import os
from pathlib import Path

_PART = ".part"


class CredentialFile:
    """Keeps credentials in a file that its owner alone can read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, service: str) -> str | None:
        """Return the credential for the service at this URL; None if there is none."""
        found = self._all().get(service)
        return found if isinstance(found, str) else None

    def keep(self, service: str, credential: str) -> None:
        """Store the credential for the service at this URL, whole or not at all. Raises OSError."""
        part = self._path.with_name(self._path.name + _PART)
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self._all() | {service: credential}, file)
            file.flush()
            os.fsync(descriptor)
        part.replace(self._path)

    def _all(self) -> dict[str, object]:
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
