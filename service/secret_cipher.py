"""Encrypts the secrets that the service has to know in clear: those of agents and of webhooks."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class SecretKeysError(Exception):
    """The file with the keys of stored secrets cannot be read, made or understood."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"The file {path}, with the keys of stored secrets, cannot be used: {reason}. Put it "
            "back from a copy, or set TANDEMCAL_SECRET_KEYS. If the keys are lost, delete the "
            "file: another is made, and agents register again."
        )


class SecretCipher:
    """Encrypts with its first key and decrypts with any (Fernet: AES-128-CBC, HMAC-SHA-256)."""

    def __init__(self, keys: Sequence[str]) -> None:
        """`keys` has at least one: 32 random bytes each, in URL-safe base64.

        Raises ValueError for any other.
        """
        self._newest = Fernet(keys[0])
        self._all = MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, secret: str) -> str:
        """Return the secret as it is stored: different at every call, 356 characters for 200."""
        return self._all.encrypt(secret.encode()).decode()

    def decrypt(self, stored: str | None) -> str | None:
        """Return the secret; None if nothing is stored, or none of the keys encrypted it."""
        if stored is None:
            return None
        try:
            return self._all.decrypt(stored.encode()).decode()
        except InvalidToken:
            return None

    def is_newest(self, stored: str) -> bool:
        """Return whether the first key encrypted it."""
        try:
            self._newest.decrypt(stored.encode())
        except InvalidToken:
            return False
        return True


def open_cipher(keys: Sequence[str] | None, file: Path) -> SecretCipher:
    """Return the cipher of these keys, or else of those in the file, which is made if missing.

    The file has a key in each line; its owner alone can read it. Raises SecretKeysError.
    """
    if keys is not None:
        return SecretCipher(keys)
    try:
        if not file.exists():
            _make(file)
        return SecretCipher(file.read_text().split())
    except (OSError, UnicodeDecodeError) as error:
        raise SecretKeysError(file, getattr(error, "strerror", None) or str(error)) from error
    except (ValueError, IndexError) as error:
        reason = "each of its lines has to be 32 bytes in URL-safe base64"
        raise SecretKeysError(file, reason) from error


def _make(file: Path) -> None:
    """Make the file with a new key, whole and once: of processes that start together, one does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # 0o600
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(Fernet.generate_key() + b"\n")
            new.flush()
            os.fsync(descriptor)
        os.link(name, file)
    except FileExistsError:
        return
    finally:
        os.unlink(name)
