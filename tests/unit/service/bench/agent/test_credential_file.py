"""The agent's credential: one for each service, whole or not at all, for its owner alone."""

import stat
from pathlib import Path

import pytest

from service.bench.agent.credential_file import CredentialFile


def test_each_service_has_its_own(tmp_path: Path) -> None:
    kept = CredentialFile(tmp_path / "credential")
    kept.keep("http://a", "first")
    kept.keep("http://b", "other")
    kept.keep("http://a", "second")
    again = CredentialFile(tmp_path / "credential")
    assert [again.read(f"http://{name}") for name in "abc"] == ["second", "other", None]
    assert stat.S_IMODE((tmp_path / "credential").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "[1]", '{"http://a": 1}', "\0"])
def test_a_file_that_cannot_be_read_holds_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "credential"
    path.write_text(content)
    kept = CredentialFile(path)
    assert kept.read("http://a") is None
    (tmp_path / ".credential-left").write_text("left by a crash")
    kept.keep("http://a", "new")
    assert kept.read("http://a") == "new"
