"""Drift through the service: chips are probed, found worse, and calibrated without being asked."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from service.db.repositories.fingerprints import answer_of
from service.db.tables import Chip, Student
from service.db.upkeep_tables import Fingerprint
from service.formatting import loss_text, short_id
from service.states import JobStatus
from tests.integration.jobs_lab import Lab, Process, SeededLab, Service, a_lab, until

MONTH = timedelta(days=30)


@pytest.fixture(scope="module")
def lab(seeded_lab: SeededLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with a_lab(seeded_lab, tmp_path_factory.mktemp("probe")) as lab:
        yield lab


@pytest.fixture(scope="module")
def service(lab: Lab) -> Iterator[Service]:
    service = Service(lab, TANDEMCAL_SIMULATED_SECONDS_PER_SECOND="1", TANDEMCAL_PLANNER_S="0.3")
    yield service
    service.stop()


def calibrated(lab: Lab, service: Service, name: str, preset: str, **overrides: Any) -> str:
    """A chip with weights in force."""
    chip = lab.chip(name, preset=preset, overrides=overrides)
    service.published(chip)
    return chip


def leave_alone(lab: Lab, chip: str) -> None:
    """For a month, of which the saved chip knows nothing yet."""
    with lab.database.writing() as session:
        row = session.get_one(Chip, chip)
        assert row.state_saved_at is not None
        row.state_saved_at -= MONTH


def weight_map(lab: Lab, job: str) -> Any:
    """The weight map that a job kept with its fingerprint."""
    with lab.database.reading() as session:
        kept = session.scalars(select(Fingerprint).where(Fingerprint.job_id == job)).one()
        return answer_of(kept)["weight_map"]


def shown(service: Service, chip: str) -> Any:
    return service.http.get(f"/v1/chips/{chip}").json()


@pytest.fixture(scope="module")
def drifted(lab: Lab, service: Service) -> tuple[str, str]:
    """A chip that drifts, and the job that probed it."""
    chip = calibrated(lab, service, "drifting", "harsh")
    leave_alone(lab, chip)
    job = service.submit(kind="probe", chip_id=chip)
    assert lab.ended(job).status == JobStatus.SUCCEEDED, lab.job(job).reason
    return chip, job


def test_a_probe_says_how_far_the_chip_is_from_publication(
    lab: Lab, service: Service, drifted: tuple[str, str]
) -> None:
    chip, job = drifted
    result = lab.job(job).result or {}
    assert result["score"] > 0.8
    assert result["health"] in ("drifting", "bad")
    loss = result["predicted_loss"]
    assert 0.0 <= loss["low"] < loss["points"] < loss["high"] <= 100.0
    assert [layer["layer"] for layer in result["layers"]] == ["hidden", "readout"]
    assert result["cells"] == 0  # it stood programmed, and was not written
    assert not {"fingerprint", "loss_curve"} & result.keys()
    found = shown(service, chip)
    assert (found["drift_score"], found["predicted_loss"]) == (result["score"], loss)
    with lab.database.reading() as session:  # so that the next job need not find them again
        student = session.get_one(Student, lab.seeded.student_id)
        assert student.loss_curve is not None
        assert len(student.golden_accuracy or {}) == 1  # of the calibration
    writes = [drive for drive in lab.drives_of(chip) if drive.verb == "program"]
    assert len({drive.pid for drive in writes}) == 2  # asked to write by both jobs


def test_a_chip_in_software_tells_how_far_its_weights_are_from_their_codes(
    lab: Lab, service: Service
) -> None:
    body = {"name": "transparent", "settings": {"preset": "harsh", "seed": 3}}
    chip = service.http.post("/v1/chips", json=body).json()["id"]
    calibration = service.published(chip).id
    leave_alone(lab, chip)
    probe = service.submit(kind="probe", chip_id=chip)
    assert lab.ended(probe).status == JobStatus.SUCCEEDED, lab.job(probe).reason
    assert "weight_map" not in (lab.job(calibration).result or {})
    published, found = weight_map(lab, calibration), weight_map(lab, probe)
    assert (published["shows"], found["shows"]) == ("error", "error")
    layer = found["tile"]["layer"]
    assert found["layers"][layer] > 1.5 * published["layers"][layer] > 0.1  # a month later
    assert found["chip_time_s"] - published["chip_time_s"] > MONTH.total_seconds()
    assert found["pulses"]["most"] >= found["pulses"]["mean"] > 0
    assert found["pulses"] == published["pulses"]  # a probe writes nothing
    tile = found["tile"]
    assert len(tile["bins"]) == -(-tile["columns"] // tile["bin_columns"])


def test_of_another_chip_the_distance_of_its_codes_from_the_golden_ones_is_kept(
    lab: Lab, service: Service, drifted: tuple[str, str]
) -> None:
    chip, probe = drifted
    found = weight_map(lab, probe)
    assert (found["shows"], "pulses" in found) == ("moved", False)
    assert found["layers"].keys() == {"hidden", "readout"}
    shown = service.http.get(f"/v1/chips/{chip}/weights/1").json()["fingerprint"]
    assert "weight_map" not in shown
    assert "rates" in shown


def test_a_version_is_valid_for_less_than_it_took_to_drift(
    service: Service, drifted: tuple[str, str]
) -> None:
    chip = shown(service, drifted[0])
    version = service.http.get(f"/v1/chips/{drifted[0]}/weights/1").json()
    assert version["temperature_kelvin"] == 300.0
    assert version["validity"] == chip["validity"]
    found = version["validity"]
    assert 60.0 < found["low_s"] < MONTH.total_seconds()
    assert found["low_s"] < found["age_s"] <= found["high_s"]
    assert chip["valid_until"] < datetime.now(UTC).isoformat()


def test_its_fingerprints_are_kept_from_publication_on(
    service: Service, drifted: tuple[str, str]
) -> None:
    path = f"/v1/chips/{drifted[0]}/fingerprints"
    newest = service.http.get(path, params={"limit": 1}).json()
    (probed,), cursor = newest["items"], newest["next_cursor"]
    (first,) = service.http.get(path, params={"cursor": cursor}).json()["items"]
    assert (first["score"], first["version"], probed["version"]) == (0.0, 1, 1)
    assert first["predicted_loss"] == {"points": 0.0, "low": 0.0, "high": 0.0}
    assert probed["predicted_loss"] == shown(service, drifted[0])["predicted_loss"]
    assert probed["job_id"] == drifted[1]
    assert probed["chip_time_s"] > first["chip_time_s"] + MONTH.total_seconds()
    whole = service.http.get(f"{path}/{probed['id']}").json()
    assert [len(rates) for rates in whole["rates"].values()] == [8, 3]
    assert whole["probes"] == 4
    assert service.http.get(f"{path}/{drifted[1]}").status_code == 404


def test_a_chip_is_probed_from_the_command_line(
    lab: Lab, service: Service, drifted: tuple[str, str]
) -> None:
    address, key = str(service.http.base_url), lab.settings.key_file.read_text().strip()
    here = {"TANDEMCAL_URL": address, "TANDEMCAL_KEY": key}
    command = Process(lab, "probe", "probe", "drifting", **here)
    assert command.gone() == 0, command.log()
    chip = shown(service, drifted[0])
    score = f"drift score {chip['drift_score']:.2f}, health {chip['health']}"
    jobs = service.http.get("/v1/jobs", params={"kind": "probe", "limit": 1}).json()["items"]
    line = f"probe {short_id(jobs[0]['id'])}: {loss_text(chip['predicted_loss'])}, {score}"
    assert command.log().splitlines()[-1] == line


def test_an_evaluation_tells_what_the_last_probe_could_not_know(
    service: Service, lab: Lab, drifted: tuple[str, str]
) -> None:
    chip, _ = drifted
    path = f"/v1/chips/{chip}/fingerprints"
    job = service.submit(kind="evaluate", chip_id=chip, student_id=lab.seeded.student_id)
    accuracy = (lab.ended(job).result or {})["accuracy"]["now"]
    published = service.http.get(f"/v1/chips/{chip}/weights/1").json()["accuracy"]["after"]
    probed = service.http.get(path, params={"limit": 1}).json()["items"][0]
    assert probed["lost_points"] == pytest.approx(100 * (published - accuracy))


def test_a_chip_of_ideal_cells_does_not_drift(lab: Lab, service: Service) -> None:
    """The control: time passes there too. Its neurons differ, so it has something to learn."""
    neuron = {"threshold_mismatch": 0.3, "leak_mismatch": 0.1}
    chip = calibrated(lab, service, "ideal", "ideal", neuron=neuron)
    leave_alone(lab, chip)
    result = lab.ended(service.submit(kind="probe", chip_id=chip)).result or {}
    assert result["score"] < 0.01


def test_a_chip_without_weights_in_force_cannot_be_compared(lab: Lab, service: Service) -> None:
    body = {"kind": "probe", "chip_id": lab.chip("bare")}
    answer = service.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "bare"})
    assert answer.status_code == 409
    assert "calibrate it first" in answer.json()["detail"]


def test_drift_is_compensated_with_the_weights_in_force(lab: Lab, service: Service) -> None:
    chip = calibrated(lab, service, "compensated", "pcm")
    leave_alone(lab, chip)
    before = lab.ended(service.submit(kind="probe", chip_id=chip)).result or {}
    job = lab.ended(service.calibrate(chip, stages=["drift"]))
    assert job.status == JobStatus.SUCCEEDED, job.reason
    result = job.result or {}
    assert result["compensated"]
    assert not result["published"]
    assert result["weights_version"] is None
    assert [stage["stage"] for stage in result["stages"]] == ["drift"]
    assert result["drift"]["score_after"] < 0.5 * result["drift"]["score_before"]
    assert result["spent"]["cells"] == result["spent"]["samples"] == 0
    now = shown(service, chip)
    assert now["validity"]["low_s"] > MONTH.total_seconds() > before["validity"]["low_s"]
    assert now["version_in_force"] == before["version"]
    assert now["drift_score"] == result["drift"]["score_after"]


def test_drift_alone_is_refused_without_weights_in_force(lab: Lab, service: Service) -> None:
    body = {
        "kind": "calibrate",
        "chip_id": lab.chip("never calibrated"),
        "student_id": lab.seeded.student_id,
        "settings": {"stages": ["drift"]},
    }
    answer = service.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "never"})
    assert answer.status_code == 422
    assert "calibrate the chip with all stages first" in answer.text


def test_a_policy_has_the_chip_probed_and_calibrated(
    service: Service, drifted: tuple[str, str]
) -> None:
    chip = drifted[0]
    rules = {
        "probe_every_s": 1,
        "calibrate_at_score": 0.8,
        "pause_s": 0,
        "settings": {
            "budget": {"samples": 64},
            "settle_s": 0,
            "target_points": None,
            "stages": ["trims"],
        },
    }
    answer = service.http.put(f"/v1/chips/{chip}/policy", json=rules)
    assert answer.status_code == 200, answer.text
    try:
        until(lambda: planned(service, chip, "calibrate"), "it is calibrated")
        until(lambda: planned(service, chip, "probe"), "it is probed")
    finally:
        assert service.http.delete(f"/v1/chips/{chip}/policy").status_code == 204


def planned(service: Service, chip: str, kind: str) -> list[Any]:
    """Jobs of the chip that ended well and that nobody asked for."""
    wanted = {"chip_id": chip, "kind": kind, "status": "succeeded"}
    jobs = service.http.get("/v1/jobs", params=wanted).json()["items"]
    return [job for job in jobs if job["priority"] == 8]
