"""Keys of others, secrets in logs, and files that others can read."""

import os
import stat
from pathlib import Path

import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from service.cli.main import app
from service.db.session import make_engine, shown_url
from service.private_files import keep_private
from service.settings import Settings
from tests.integration.jobs_lab import Lab, Service
from tests.world import World


def new_key(world: World) -> str:
    body = {"name": "somebody else", "scopes": ["read", "operate"]}
    return str(world.client.post("/v1/keys", json=body).json()["key"])


def test_an_idempotency_key_belongs_to_the_api_key_that_sent_it(world: World) -> None:
    body = {"kind": "train", "target_set_id": world.ready_targets()}

    def submitted(**other: str) -> str:
        headers = {"Idempotency-Key": "1"} | other
        return str(world.client.post("/v1/jobs", json=body, headers=headers).json()["id"])

    mine, again = submitted(), submitted()
    theirs = submitted(Authorization=f"Bearer {new_key(world)}")
    assert mine == again
    assert mine != theirs


@pytest.mark.parametrize("action", ["retry", "complete"])
def test_what_makes_a_job_needs_an_idempotency_key(world: World, action: str) -> None:
    path = "/v1/jobs/x/retry" if action == "retry" else "/v1/target-sets/x/complete"
    bare = world.client.post(path)
    assert (bare.status_code, "Idempotency-Key" in bare.json()["detail"]) == (422, True)
    assert world.post_once(path).status_code == 404  # with one, the resource is looked up


def test_ten_retries_under_one_key_make_one_job(world: World) -> None:
    job = world.complete_targets(world.upload_teacher()["id"])
    assert world.client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202
    found = {world.post_once(f"/v1/jobs/{job['id']}/retry", "one").text for _ in range(10)}
    assert len(found) == 1
    assert world.stored()["jobs"] == 2


def test_a_database_url_is_shown_without_its_password() -> None:
    url = "postgresql+psycopg://lab:very-secret@host/name"
    assert "very-secret" not in shown_url(url)
    assert "lab" in shown_url(url)


@pytest.mark.both_databases
def test_migrate_prints_no_password(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make_url(settings.database)
    url = url if url.get_backend_name() == "sqlite" else url.set(password="very-secret")
    monkeypatch.setenv("TANDEMCAL_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("TANDEMCAL_DATABASE_URL", url.render_as_string(hide_password=False))
    before = os.umask(0o022)
    try:
        found = CliRunner().invoke(app, ["migrate"])
    finally:
        os.umask(before)
    assert found.exit_code == 0, found.output
    assert str(url.database) in found.output.replace("\n", "")
    assert "very-secret" not in found.output


def test_errors_of_the_database_show_no_values(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'a.sqlite'}")
    with pytest.raises(Exception, match="no such table") as found, engine.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM missing WHERE a = ?", ("very-secret",))
    engine.dispose()
    assert "very-secret" not in str(found.value)


def test_a_service_without_a_terminal_prints_no_key(lab: Lab) -> None:
    lab.settings.key_file.unlink(missing_ok=True)
    service = Service(lab)
    key = lab.settings.key_file.read_text().strip()
    assert service.http.get("/v1/chips").status_code == 200
    service.stop()
    assert key not in service.log()
    assert str(lab.settings.key_file) in service.log()  # it says where the key is


def test_what_a_service_stores_is_read_by_its_owner_alone(tmp_path: Path) -> None:
    folder, before = tmp_path / "data", os.umask(0o022)
    try:
        folder.mkdir()
        (folder / "tandemcal.sqlite").touch()
        keep_private(folder)
        (folder / "new").touch()
        (folder / "deeper").mkdir()
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())]
    finally:
        os.umask(before)
    assert all(mode & 0o077 == 0 for mode in modes)
