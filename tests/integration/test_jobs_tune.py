"""A chip's circuits tuned through the service: what is found, kept, put back and set again."""

from collections.abc import Iterator
from typing import Any

import pytest

from ltl_core.packing import pack, unpack
from ltl_core.tuning.result import from_block
from service.artifacts import ArtifactStore
from service.db.tables import Chip
from service.states import JobStatus
from tests.integration.jobs_lab import Lab, SeededLab, Service, a_lab, until

QUICK = {"repeats": 128, "samples": 32}


@pytest.fixture(scope="module")
def lab(seeded_lab: SeededLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with a_lab(seeded_lab, tmp_path_factory.mktemp("tune")) as lab:
        yield lab


@pytest.fixture(scope="module")
def service(lab: Lab) -> Iterator[Service]:
    service = Service(lab)
    yield service
    service.stop()


def submit(lab: Lab, service: Service, chip: str, **request: Any) -> str:
    whole = {"student_id": lab.seeded.student_id, "settings": QUICK} | request
    return service.submit(kind="tune", chip_id=chip, **whole)


def refused(service: Service, **request: Any) -> list[str]:
    answer = service.http.post(
        "/v1/jobs", json=request, headers={"Idempotency-Key": str(hash(str(request)))}
    )
    assert answer.status_code == 422, answer.text
    return [error["pointer"] for error in answer.json()["errors"]]


def forget_registers(lab: Lab, chip_id: str) -> None:
    """Overwrite the calibration: the saved chip's registers are as they were made."""
    store = ArtifactStore(lab.settings.artifacts_dir)
    with lab.database.writing() as session:
        chip = session.get_one(Chip, chip_id)
        tensors, about = unpack(store.read(str(chip.state_sha256)))
        kept = {name: tensor for name, tensor in tensors.items() if "tuning/" not in name}
        assert len(kept) < len(tensors)
        chip.state_sha256 = store.put(pack(kept, about))


@pytest.fixture(scope="module")
def tuned(lab: Lab, service: Service) -> tuple[str, str]:
    """A harsh chip, and the job that tuned it."""
    chip = lab.chip("harsh", preset="harsh")
    job = submit(lab, service, chip)
    assert lab.ended(job).status == JobStatus.SUCCEEDED, lab.job(job).reason
    return chip, job


def test_a_job_tunes_a_chip_and_keeps_the_registers(lab: Lab, tuned: tuple[str, str]) -> None:
    result = lab.job(tuned[1]).result or {}
    assert result["passed"], result["failures"]
    hidden = result["layers"]["hidden"]
    assert hidden["after"]["adc_lsb"] < 3 < hidden["before"]["adc_lsb"]
    assert hidden["after"]["threshold"] < 0.35 * hidden["before"]["threshold"]
    assert hidden["after"]["leak"] < 0.3 * hidden["before"]["leak"]
    store = ArtifactStore(lab.settings.artifacts_dir)
    registers = from_block(store.read(result["registers_sha256"]))
    assert registers["hidden"].tuning.threshold.count_nonzero() > 0
    assert {event.type for event in lab.events(tuned[1])} >= {"job.progress", "job.ended"}


def test_the_chip_stays_tuned_for_the_next_job(
    lab: Lab, service: Service, tuned: tuple[str, str]
) -> None:
    now = (lab.job(tuned[1]).result or {})["accuracy"]["now"]
    found = lab.ended(service.evaluate(tuned[0])).result or {}
    assert found["accuracy"]["now"] == pytest.approx(now, abs=0.05)
    again = lab.ended(submit(lab, service, tuned[0], registers_of=tuned[1]))
    assert (again.result or {})["accuracy"]["untuned"] == pytest.approx(now, abs=0.05)


def test_registers_of_an_earlier_job_are_set_again(
    lab: Lab, service: Service, tuned: tuple[str, str]
) -> None:
    chip, job = tuned
    forget_registers(lab, chip)
    again = lab.ended(submit(lab, service, chip, registers_of=job))
    assert again.status == JobStatus.SUCCEEDED
    assert (again.result or {})["passed"]
    first = lab.job(job).result or {}
    assert (again.result or {})["registers_sha256"] == first["registers_sha256"]


def test_a_cancelled_tuning_puts_the_registers_back(lab: Lab, service: Service) -> None:
    chip = lab.chip("cancelled", preset="pcm", run_s=0.05)
    job = submit(lab, service, chip)
    until(lambda: (lab.job(job).progress or {}).get("step", 0) >= 1, "it tunes")
    assert service.http.post(f"/v1/jobs/{job}/cancel").status_code == 202
    done = lab.ended(job)
    assert done.status == JobStatus.CANCELLED
    assert "registers of before were put back" in (done.reason or "")
    assert lab.lease(chip).holder is None
    assert lab.drives_of(chip)[-1].verb == "tune"
    tensors, _ = unpack(ArtifactStore(lab.settings.artifacts_dir).read(lab.states()[-1]))
    registers = [codes for name, codes in tensors.items() if name.startswith("tuning/")]
    assert registers
    assert not any(codes.any() for codes in registers)


def test_what_does_not_fit_is_refused(lab: Lab, service: Service, tuned: tuple[str, str]) -> None:
    other = lab.chip("other")
    student = lab.seeded.student_id
    assert refused(service, kind="tune", chip_id=other) == ["/student_id"]
    foreign = {"student_id": student, "registers_of": tuned[1]}
    assert refused(service, kind="tune", chip_id=other, **foreign) == ["/registers_of"]
    wrong = {"student_id": student, "settings": {"repeats": 1}}
    assert refused(service, kind="tune", chip_id=other, **wrong) == ["/settings/repeats"]


def test_the_version_in_force_says_which_network_stands_there(lab: Lab, service: Service) -> None:
    chip = lab.chip("calibrated", preset="harsh")
    service.published(chip)
    job = service.submit(kind="tune", chip_id=chip, settings=QUICK)
    assert lab.job(job).student_id == lab.seeded.student_id
    assert lab.ended(job).status == JobStatus.SUCCEEDED


def test_pages_show_what_came_of_it(service: Service, tuned: tuple[str, str]) -> None:
    page = service.http.get(f"/jobs/{tuned[1]}").text
    assert "Tuning of harsh" in page
    assert "all circuits alike" in page
    assert "Spread in hidden" in page
