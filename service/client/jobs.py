"""Jobs: submit, follow, cancel and retry them."""

import builtins
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict

from ltl_core.presets import PresetName
from ltl_core.settings import CalibrationSettings, TrainingSettings, TuneSettings
from service.client.errors import ServiceUnreachableError
from service.client.job import Job
from service.client.lookup import Lookup
from service.client.transport import Transport
from service.schemas.jobs import CancelledView, EventView
from service.states import OpenStatus

LONG_POLL = 10.0  # s that the service may hold a request until the job changes
STREAM_TIMEOUT = 60.0  # s without a byte after which an event stream counts as dead
STREAM_RETRIES = 5  # how often in a row an event stream that fails is opened again


class Queueing(BaseModel):
    """When a job may start, and its priority."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    priority: int = 5  # 0 to 9; 0 goes first
    not_before: AwareDatetime | None = None
    queue_deadline: AwareDatetime | None = None  # a job that has not started by then expires
    if_unavailable: Literal["queue", "reject"] = "queue"  # what to do while the chip is offline


class Jobs:
    """Submits jobs, which run in the service, and follows them.

    A chip is named by its id, its short id or its name; a student by its id, its short id or the
    name of its teacher, which means the newest.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lookup = Lookup(transport)

    def train(
        self,
        target_set_id: str,
        settings: TrainingSettings | None = None,
        *,
        preset: PresetName | None = None,
        queueing: Queueing | None = None,
    ) -> Job:
        """Train the golden student of a target set.

        With a preset, the fields that are set in `settings` override its published values.
        """
        chosen = settings or TrainingSettings()
        given = chosen.model_dump(mode="json", exclude_unset=preset is not None)
        body = {"kind": "train", "target_set_id": target_set_id, "settings": given}
        return self._submit(body if preset is None else body | {"preset": preset}, queueing)

    def calibrate(
        self,
        chip_id: str,
        student_id: str,
        settings: CalibrationSettings | None = None,
        *,
        last_trims_after_s: float | None = None,
        passes_max: int = 1,
        queueing: Queueing | None = None,
    ) -> Job:
        """Calibrate a chip to a golden student.

        With `last_trims_after_s`, from an hour to a week of the chip's clock, another job trims the
        published version again once the chip is so old; the result names it. A network that is
        larger than the chip is placed in `passes_max` parts at most, and written again in each run.
        """
        body = {"kind": "calibrate"} | self._chip_and_student(chip_id, student_id)
        body |= _passes(passes_max)
        if last_trims_after_s is not None:
            body["last_trims_after_s"] = last_trims_after_s
        chosen = settings or CalibrationSettings()
        return self._submit(body | {"settings": _json(chosen)}, queueing)

    def tune(
        self,
        chip_id: str,
        student_id: str | None = None,
        settings: TuneSettings | None = None,
        *,
        registers_of: str | None = None,
        queueing: Queueing | None = None,
    ) -> Job:
        """Tune the registers of a chip until its circuits are alike, before a calibration.

        Without a student, the student of the version in force is used. `registers_of` names an
        earlier tune job: its registers are set again instead of searched.
        """
        body = {"kind": "tune"} | self._chip_and_student(chip_id, student_id)
        if registers_of:
            body["registers_of"] = registers_of
        chosen = _json(settings or TuneSettings())
        return self._submit(body | {"settings": chosen}, queueing)

    def evaluate(
        self,
        chip_id: str,
        student_id: str,
        *,
        passes_max: int = 1,
        queueing: Queueing | None = None,
    ) -> Job:
        """Measure the accuracy of a chip as it is; `passes_max` is that of `calibrate`."""
        body = {"kind": "evaluate"} | self._chip_and_student(chip_id, student_id)
        return self._submit(body | _passes(passes_max), queueing)

    def probe(self, chip_id: str, *, passes_max: int = 1, queueing: Queueing | None = None) -> Job:
        """Measure how far a chip has drifted since its weights were published, without labels.

        `passes_max` is that of `calibrate`.
        """
        body = {"kind": "probe"} | self._chip_and_student(chip_id)
        return self._submit(body | _passes(passes_max), queueing)

    def submit(self, request: Mapping[str, Any]) -> Job:
        """Submit a request as the HTTP API takes it, of any kind: `{"kind": "probe", ...}`."""
        return self._submit(request, None)

    def find(self, word: str) -> Job:
        """Return the job with this id or short id. Raises TandemcalError if there is none."""
        return self.get(self._lookup.job(word))

    def get(self, job_id: str) -> Job:
        """Return one job. Raises TandemcalError if there is no job of this id."""
        return self._bound(self._transport.get(f"/v1/jobs/{job_id}", Job))

    def list(
        self, *, status: str | None = None, kind: str | None = None, chip_id: str | None = None
    ) -> Iterator[Job]:
        """Yield jobs, newest first: all, or those of this status, kind or chip."""
        wanted = {"status": status, "kind": kind, "chip_id": chip_id}
        return map(self._bound, self._transport.every("/v1/jobs", Job, **wanted))

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: a waiting one at once, a running one after its current step."""
        return self._bound(self._transport.post(f"/v1/jobs/{job_id}/cancel", {}, Job))

    def cancel_all(
        self,
        *,
        chip_id: str | None = None,
        status: Sequence[OpenStatus | str] | None = None,
        kind: str | None = None,
    ) -> builtins.list[str]:
        """Cancel all open jobs of a chip, of some statuses, of a kind; return their ids.

        Jobs are cancelled to which all that is given applies. Raises TandemcalError (422) if
        nothing is given.
        """
        chip = None if chip_id is None else self._lookup.chip(chip_id)
        wanted = {"chip_id": chip, "status": status and [*status], "kind": kind}
        body = {name: value for name, value in wanted.items() if value is not None}
        cancelled: builtins.list[str] = []
        more = True
        while more:
            found = self._transport.post("/v1/jobs/cancel", body, CancelledView)
            cancelled += found.job_ids
            more = found.more and found.cancelled > 0
        return cancelled

    def retry(self, job_id: str) -> Job:
        """Submit the request of a job that has ended again, as a new job."""
        return self._bound(self._transport.post(f"/v1/jobs/{job_id}/retry", {}, Job))

    def log(self, job_id: str) -> str:
        """Return the log of a job so far, one line an event."""
        return self._transport.send("GET", f"/v1/jobs/{job_id}/log").text

    def follow(self, job_id: str, timeout: float | None = None) -> Iterator[Job]:
        """Yield the job each time it changes, for the last time when it has ended.

        Raises TimeoutError if it has not ended after `timeout` seconds.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        etag: str | None = None
        while True:
            answer = self._read_changed(job_id, etag, min(LONG_POLL, deadline - time.monotonic()))
            if answer.status_code != httpx.codes.NOT_MODIFIED:
                etag = answer.headers.get("ETag")
                job = self._bound(Job.model_validate_json(answer.content))
                yield job
                if job.terminal:
                    return
            if time.monotonic() >= deadline:
                raise TimeoutError(f"Job {job_id} has not ended within {timeout} s.")

    def wait(self, job_id: str, timeout: float | None = None) -> Job:
        """Return the job once it has ended. Raises TimeoutError after `timeout` seconds."""
        *_, job = self.follow(job_id, timeout)
        return job

    def _read_changed(self, job_id: str, etag: str | None, wait: float) -> httpx.Response:
        """Read the job; the answer is 304 if it has not changed for `wait` seconds."""
        return self._transport.send(
            "GET",
            f"/v1/jobs/{job_id}",
            headers={"If-None-Match": etag} if etag else {},
            params={"wait": max(round(wait, 1), 0)} if etag else {},
            timeout=httpx.Timeout(LONG_POLL + 20.0),
        )

    def events(self, job_id: str, after: int = 0) -> Iterator[EventView]:
        """Yield the events of a job with numbers above `after`, until the job has ended.

        A stream that fails is opened again where it stopped. Raises ServiceUnreachableError if
        that fails several times in a row.
        """
        broken = 0
        while True:
            try:
                for event in self._stream(job_id, after):
                    after, broken = event.seq, 0
                    yield event
                    if event.type == "job.ended":
                        return
            except _StreamEndedError:
                return
            except httpx.TransportError as error:
                broken += 1
                if broken > STREAM_RETRIES:
                    raise ServiceUnreachableError("the event stream", str(error)) from error
            time.sleep(0.2 * 2**broken)

    def _stream(self, job_id: str, after: int) -> Iterator[EventView]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        path = f"/v1/jobs/{job_id}/events"
        with self._transport.stream(path, headers, quiet=STREAM_TIMEOUT) as answer:
            if answer.status_code == httpx.codes.NO_CONTENT:
                raise _StreamEndedError
            for data in _messages(answer.iter_lines()):
                yield EventView.model_validate(json.loads(data))

    def _chip_and_student(self, chip_id: str, student_id: str | None = None) -> dict[str, Any]:
        """Return the fields of a request that name a chip and a student, as ids."""
        chip = {"chip_id": self._lookup.chip(chip_id)}
        return chip | ({"student_id": self._lookup.student(student_id)} if student_id else {})

    def _submit(self, body: Mapping[str, Any], queueing: Queueing | None) -> Job:
        options = queueing.model_dump(mode="json", exclude_unset=True) if queueing else {}
        return self._bound(self._transport.post("/v1/jobs", {**body, **options}, Job))

    def _bound(self, job: Job) -> Job:
        return job.bound_to(self)


class _StreamEndedError(Exception):
    """The job has ended, and all its events have been read."""


def _json(settings: TrainingSettings | CalibrationSettings | TuneSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json")


def _passes(most: int) -> dict[str, Any]:
    """Return the field of a request; a service of an earlier version knows none."""
    return {"passes_max": most} if most != 1 else {}


def _messages(lines: Iterator[str]) -> Iterator[str]:
    """Yield the data of each server-sent event, without the comments that keep streams open."""
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []
