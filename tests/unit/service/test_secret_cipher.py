"""Keys of stored secrets: where they are kept, which of them encrypts, what is lost with them."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from service.secret_cipher import SecretCipher, SecretKeysError, open_cipher

SECRET = "s" * 200
OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


def test_what_is_stored_shows_nothing_and_is_decrypted_again() -> None:
    cipher = SecretCipher([NEW])
    stored = cipher.encrypt(SECRET)
    assert SECRET[:8] not in stored
    assert stored != cipher.encrypt(SECRET)
    assert (len(stored), cipher.decrypt(stored)) == (356, SECRET)


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    before, both = SecretCipher([OLD]), SecretCipher([NEW, OLD])
    stored = before.encrypt(SECRET)
    assert (both.decrypt(stored), both.is_newest(stored)) == (SECRET, False)
    renewed = both.encrypt(SECRET)
    assert both.is_newest(renewed)
    assert SecretCipher([NEW]).decrypt(renewed) == SECRET
    assert before.decrypt(renewed) is None


@pytest.mark.parametrize("stored", [None, "", "no token", SecretCipher([OLD]).encrypt(SECRET)])
def test_what_no_key_encrypted_is_no_secret(stored: str | None) -> None:
    assert SecretCipher([NEW]).decrypt(stored) is None


def test_a_changed_secret_is_no_secret() -> None:
    cipher = SecretCipher([NEW])
    stored = cipher.encrypt(SECRET)
    place = len(stored) // 2
    other = "A" if stored[place] != "A" else "B"
    assert cipher.decrypt(stored[:place] + other + stored[place + 1 :]) is None


def test_the_file_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "data" / "secret-keys"
    with ThreadPoolExecutor(8) as threads:
        ciphers = list(threads.map(lambda _: open_cipher(None, file), range(8)))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["secret-keys"]
    stored = ciphers[0].encrypt(SECRET)
    assert {cipher.decrypt(stored) for cipher in ciphers} == {SECRET}


def test_a_key_in_front_of_those_of_the_file_encrypts(tmp_path: Path) -> None:
    file = tmp_path / "secret-keys"
    stored = open_cipher(None, file).encrypt(SECRET)
    file.write_text(f"{NEW}\n{file.read_text()}")
    cipher = open_cipher(None, file)
    assert cipher.decrypt(stored) == SECRET
    assert SecretCipher([NEW]).decrypt(cipher.encrypt(SECRET)) == SECRET


def test_given_keys_need_no_file(tmp_path: Path) -> None:
    file = tmp_path / "secret-keys"
    assert open_cipher([NEW], file).is_newest(SecretCipher([NEW]).encrypt(SECRET))
    assert not file.exists()


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff\xfe"])
def test_a_file_without_keys_is_an_error_that_says_what_to_do(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "secret-keys"
    file.write_bytes(content)
    with pytest.raises(SecretKeysError, match="Put it back from a copy"):
        open_cipher(None, file)
    assert file.read_bytes() == content
