"""The agent's own credential for each service: it proves that an agent is the one of before.

The service gives another one at every registration. A crash before it is stored does no harm: the
service accepts the one before until the new one has been used.
"""

import json
from pathlib import Path

from service.private_files import write_private


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
        write_private(self._path, json.dumps(self._all() | {service: credential}))

    def _all(self) -> dict[str, object]:
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
