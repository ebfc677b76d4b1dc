"""A database that cannot be used is a sentence without a password, not a traceback."""

import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import ProgrammingError

from service.cli.database_faults import database_fault
from service.cli.main import main

NOBODY = "postgresql+psycopg://u:secret@127.0.0.1:1/x"  # no server listens on this port


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (NOBODY, "The database postgresql+psycopg://u:***@127.0.0.1:1/x cannot be used"),
        ("nonsense", "TANDEMCAL_DATABASE_URL is no address of an SQLite or PostgreSQL database"),
        ("mysql://u:secret@127.0.0.1:1/x", "no address of an SQLite or PostgreSQL database"),
        ("sqlite:////{folder}/text", "cannot be used: file is not a database"),
    ],
)
def test_a_database_that_cannot_be_used_is_said(
    url: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text").write_text("no database" * 100)
    monkeypatch.setenv("TANDEMCAL_DATABASE_URL", url.format(folder=tmp_path))
    monkeypatch.setenv("TANDEMCAL_DATABASE_WAIT_S", "0.1")
    monkeypatch.setenv("TANDEMCAL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "argv", ["tandemcal", "migrate"])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert said in printed.err
    assert "secret" not in printed.err + printed.out


def test_a_database_that_was_not_migrated_is_said_to_need_it() -> None:
    for words in ("no such table: jobs", 'relation "jobs" does not exist'):
        fault = database_fault(ProgrammingError("SELECT", None, Exception(words)))
        assert fault is not None
        assert fault.endswith("Run tandemcal migrate.")


def test_other_errors_keep_their_traceback() -> None:
    assert database_fault(ValueError("a fault of our own")) is None
