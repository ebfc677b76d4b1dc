"""How jobs end before their time: cancelled, failed by their chip, out of time. And baselines."""

import os
import signal
from collections.abc import Iterator
from itertools import pairwise

import pytest

from service.db.repositories.leases import LeaseRepository
from service.db.tables import ChipLease
from service.states import JobStatus
from tests.integration.jobs_lab import (
    Lab,
    Process,
    SeededLab,
    Service,
    a_lab,
    keys,
    until,
)
from tests.integration.traced_chip import Drive


@pytest.fixture(scope="module")
def lab(seeded_lab: SeededLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with a_lab(seeded_lab, tmp_path_factory.mktemp("ends")) as lab:
        yield lab


@pytest.fixture(scope="module")
def service(lab: Lab) -> Iterator[Service]:
    """One service for all: what happens to one job must not matter to the next."""
    service = Service(lab, TANDEMCAL_PARALLEL_JOBS="3", TANDEMCAL_LEASE_S="4")
    yield service
    service.stop()


def test_a_cancelled_job_puts_the_old_codes_back(lab: Lab, service: Service) -> None:
    chip = lab.chip("cancelled", run_s=0.1)
    job = service.calibrate(chip, samples=32 * 500)
    until(lambda: (lab.job(job).progress or {}).get("step", 0) >= 3, "it calibrates")
    assert service.http.post(f"/v1/jobs/{job}/cancel").status_code == 202
    done = lab.ended(job)
    assert done.status == JobStatus.CANCELLED
    assert "put back" in (done.reason or "")
    assert lab.lease(chip).holder is None
    assert lab.versions(chip) == []
    assert lab.drives_of(chip)[-1].verb == "program"


def test_a_network_larger_than_its_chip_is_calibrated_in_passes(lab: Lab, service: Service) -> None:
    sizes = {"tile_rows": 8, "tile_columns": 4, "tiles": 2}  # the network has 3 tiles
    chip = lab.chip("small", overrides=sizes)
    refused = lab.ended(service.evaluate(chip))
    assert refused.status == JobStatus.FAILED
    assert "needs 3 tiles, but the chip has 2" in (refused.reason or "")
    job = lab.ended(service.calibrate(chip, samples=64, passes_max=3, stages=["trims"]))
    assert job.status == JobStatus.SUCCEEDED, job.reason
    assert (job.result or {})["passes"] == 3
    # Trims write no cell: each of at least four runs has written the network again.
    assert (job.spent or {})["cells"] > 4 * 0.5 * (8 * 6 + 3 * 8)


def test_a_queued_job_is_cancelled_at_once_and_never_drives(lab: Lab, service: Service) -> None:
    chip = lab.chip("busy", run_s=0.3)
    first, second = service.evaluate(chip), service.evaluate(chip)
    assert service.http.post(f"/v1/jobs/{second}/cancel").status_code == 202
    assert lab.job(second).status == JobStatus.CANCELLED
    assert lab.ended(first).status == JobStatus.SUCCEEDED
    third = service.evaluate(chip)
    assert lab.ended(third).status == JobStatus.SUCCEEDED
    assert len(spans(lab.drives_of(chip))) == 2
    assert lab.job(second).attempt == 0


def test_a_chip_that_falls_silent_fails_the_job_and_frees_the_chip(
    lab: Lab, service: Service
) -> None:
    chip = lab.chip("silent", run_s=0.05, silent_after=12)
    job = service.calibrate(chip)
    done = lab.ended(job)
    assert done.status == JobStatus.FAILED
    assert "does not answer" in (done.reason or "")
    assert lab.lease(chip).holder is None
    assert lab.versions(chip) == []
    assert (done.progress or {})["step"] > 0  # what was measured stays
    assert (done.spent or {})["samples"] > 0


def test_a_killed_child_is_retried(lab: Lab, service: Service) -> None:
    chip = lab.chip("killed", run_s=0.15)
    job = service.calibrate(chip, samples=32 * 22)
    until(lambda: (lab.job(job).checkpoint_step or 0) >= 1, "a step is kept")
    os.kill(lab.drives_of(chip)[-1].pid, signal.SIGKILL)
    done = lab.ended(job)
    assert (done.status, done.attempt) == (JobStatus.SUCCEEDED, 2), done.reason
    assert len({drive.pid for drive in lab.drives_of(chip)}) == 2
    assert max(keys(lab.events(job)).values()) == 1


def test_a_job_that_kills_its_worker_is_given_up(lab: Lab, service: Service) -> None:
    chip, next_chip = lab.chip("deadly", deadly_after=2), lab.chip("sound")
    job, after = service.calibrate(chip), service.evaluate(next_chip)
    done = lab.ended(job)
    assert lab.ended(after).status == JobStatus.SUCCEEDED
    assert done.status == JobStatus.FAILED
    assert "died 3 times" in (done.reason or "")
    assert "killed by signal 9" in lab.events(job, "job.log")[-1].data["line"]
    assert lab.lease(chip).holder is None


def test_the_budget_of_seconds_ends_a_calibration(lab: Lab, service: Service) -> None:
    chip = lab.chip("slow", run_s=0.2)
    job = service.calibrate(chip, budget={"samples": 32 * 1000, "seconds": 2})
    done = lab.ended(job)
    assert done.status == JobStatus.SUCCEEDED, done.reason
    assert (done.result or {})["ended_by"] == "budget:seconds"


def test_a_lost_lease_stops_the_job_which_waits_and_goes_on(lab: Lab, service: Service) -> None:
    chip = lab.chip("stolen", run_s=0.1)
    job = service.calibrate(chip, samples=32 * 20)
    until(lambda: (lab.job(job).progress or {}).get("step", 0) >= 2, "it calibrates")
    thief = steal(lab, chip)
    until(lambda: lab.job(job).status == JobStatus.WAITING_FOR_CHIP, "it waits")
    drives = len(lab.drives_of(chip))
    assert lab.job(job).token == thief - 1
    assert len(lab.events(job, "lease.lost")) == 1
    other = service.evaluate(lab.chip("free"))
    assert lab.ended(other).status == JobStatus.SUCCEEDED  # the waiting job holds up no other
    assert len(lab.drives_of(chip)) == drives
    with lab.database.writing() as session:
        assert LeaseRepository(session).release(chip, thief)
    done = lab.ended(job)
    assert done.status == JobStatus.SUCCEEDED, done.reason
    assert done.token == thief + 1


def test_two_jobs_for_one_chip_never_overlap(lab: Lab, service: Service) -> None:
    chips = [lab.chip(f"crowded {place}", run_s=0.02) for place in range(2)]
    jobs = [service.evaluate(chip) for _ in range(4) for chip in chips]
    for job in jobs:
        assert lab.ended(job).status == JobStatus.SUCCEEDED
    for chip in chips:
        turns = sorted(spans(lab.drives_of(chip)))
        assert len(turns) == 4
        assert not overlapping(turns)
        tokens = [lab.job(job).token or 0 for job in jobs if lab.job(job).chip_id == chip]
        assert sorted(set(tokens)) == sorted(tokens)


def test_two_chips_are_driven_at_the_same_time(lab: Lab, service: Service) -> None:
    """The control: the trace would show an overlap."""
    chips = [lab.chip(f"side by side {place}", run_s=0.2) for place in range(2)]
    jobs = [service.calibrate(chip, samples=32 * 10) for chip in chips]
    for job in jobs:
        lab.ended(job)
    assert overlapping(sorted(turn for chip in chips for turn in spans(lab.drives_of(chip))))


def test_a_second_service_on_the_same_database_is_refused(lab: Lab, service: Service) -> None:
    assert service.process.poll() is None
    second = Process(lab, "second", "up", "--port", "0")
    assert second.gone() == 1
    assert "already runs the jobs" in second.log()
    assert "Traceback" not in second.log()


def steal(lab: Lab, chip: str) -> int:
    """Take the lease away, as another executor may once it has expired."""
    with lab.database.writing() as session:
        lease = session.get_one(ChipLease, chip)
        lease.token, lease.holder, lease.job_id = lease.token + 1, f"thief {os.getpid()}", None
        lease.expires_at = lease.expires_at.replace(year=lease.expires_at.year + 1)
        return lease.token


def spans(drives: list[Drive]) -> list[tuple[float, float]]:
    """From the first to the last call of each process."""
    processes = {drive.pid for drive in drives}
    turns = [[drive for drive in drives if drive.pid == pid] for pid in processes]
    return [(min(d.began for d in turn), max(d.ended for d in turn)) for turn in turns]


def overlapping(turns: list[tuple[float, float]]) -> bool:
    return any(later[0] < earlier[1] for earlier, later in pairwise(turns))


def test_a_job_calibrates_by_the_method_that_was_asked_for(lab: Lab, service: Service) -> None:
    chip = lab.chip("baseline")
    done = lab.ended(service.calibrate(chip, method="spsa", verification_samples=64))
    assert done.status == JobStatus.SUCCEEDED, done.reason
    assert done.result is not None
    assert done.result["method"] == done.result["rule"] == "spsa"
    assert done.result["spent"]["samples"] == 640
    assert done.result["spent"]["cells"] == 0  # although cells were asked for: it moves trims alone
    layers = done.result["layers"]
    assert [(one["layer"], one["cells_changed"]) for one in layers] == [
        ("hidden", 0),
        ("readout", 0),
    ]
    assert layers[0]["rate_error_after"] == done.result["rate_error"]["after"][0]
    assert any(one["trims_changed"] for one in layers) == done.result["published"]
    assert all(version.rule == "spsa" for version in lab.versions(chip))
