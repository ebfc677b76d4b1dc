"""Jobs: ask for them, follow them, call them off."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict

from ltl_core.presets import PresetName
from ltl_core.settings import CalibrationSettings, TrainingSettings, TuneSettings
from service.client.errors import ServiceUnreachableError
from service.client.transport import Transport
from service.schemas.jobs import EventView, JobView

LOOK = 10.0  # s that the service holds a question about a job until there is news
QUIET = 60.0  # s without a word after which an event stream is taken for dead
REOPENINGS = 5


class Queueing(BaseModel):
    """When a job may start, and before which others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    priority: int = 5  # 0 to 9; 0 goes first
    not_before: AwareDatetime | None = None
    queue_deadline: AwareDatetime | None = None  # a job that has not started by then expires
    if_unavailable: Literal["queue", "reject"] = "queue"  # where its chip is offline


class Jobs:
    """Every job runs in the service; whoever asked may go away and come back."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def train(
        self,
        target_set_id: str,
        settings: TrainingSettings | None = None,
        *,
        preset: PresetName | None = None,
        queueing: Queueing | None = None,
    ) -> JobView:
        """Train the golden student of a target set.

        With a preset, what was set by hand in `settings` is laid over what was published.
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
        queueing: Queueing | None = None,
    ) -> JobView:
        """Calibrate a chip to a golden student."""
        body = {"kind": "calibrate", "chip_id": chip_id, "student_id": student_id}
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
    ) -> JobView:
        """Make the circuits of a chip alike, before a calibration.

        Without a student, that of the version in force stands on it. `registers_of` names an
        earlier job of this kind, whose registers are set again instead of searched.
        """
        body = {"kind": "tune", "chip_id": chip_id, "settings": _json(settings or TuneSettings())}
        named = {"student_id": student_id, "registers_of": registers_of}
        given = {name: value for name, value in named.items() if value}
        return self._submit(body | given, queueing)

    def evaluate(
        self, chip_id: str, student_id: str, *, queueing: Queueing | None = None
    ) -> JobView:
        """Measure a chip as it is."""
        body = {"kind": "evaluate", "chip_id": chip_id, "student_id": student_id}
        return self._submit(body, queueing)

    def probe(self, chip_id: str, *, queueing: Queueing | None = None) -> JobView:
        """Ask how far a chip has drifted since its weights were published; no labels are needed."""
        return self._submit({"kind": "probe", "chip_id": chip_id}, queueing)

    def get(self, job_id: str) -> JobView:
        return self._transport.get(f"/v1/jobs/{job_id}", JobView)

    def list(
        self, *, status: str | None = None, kind: str | None = None, chip_id: str | None = None
    ) -> Iterator[JobView]:
        """Newest first."""
        return self._transport.every("/v1/jobs", JobView, status=status, kind=kind, chip_id=chip_id)

    def cancel(self, job_id: str) -> JobView:
        """Call it off: at once where it waits, after its step where it runs."""
        return self._transport.post(f"/v1/jobs/{job_id}/cancel", {}, JobView)

    def retry(self, job_id: str) -> JobView:
        """Ask for the same again, as a new job."""
        return self._transport.post(f"/v1/jobs/{job_id}/retry", {}, JobView)

    def log(self, job_id: str) -> str:
        """What it logged so far."""
        return self._transport.send("GET", f"/v1/jobs/{job_id}/log").text

    def follow(self, job_id: str, timeout: float | None = None) -> Iterator[JobView]:
        """The job each time it changed, the last time when it has ended.

        Raises TimeoutError where it has not ended after so many seconds.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        etag: str | None = None
        while True:
            answer = self._look(job_id, etag, min(LOOK, deadline - time.monotonic()))
            if answer.status_code != httpx.codes.NOT_MODIFIED:
                etag = answer.headers.get("ETag")
                job = JobView.model_validate_json(answer.content)
                yield job
                if job.terminal:
                    return
            if time.monotonic() >= deadline:
                raise TimeoutError(f"Job {job_id} has not ended within {timeout} s.")

    def wait(self, job_id: str, timeout: float | None = None) -> JobView:
        """The job when it has ended. Raises TimeoutError where that takes longer, in seconds."""
        *_, job = self.follow(job_id, timeout)
        return job

    def _look(self, job_id: str, etag: str | None, wait: float) -> httpx.Response:
        """The job, or 304 where it is as it was for `wait` seconds."""
        return self._transport.send(
            "GET",
            f"/v1/jobs/{job_id}",
            headers={"If-None-Match": etag} if etag else {},
            params={"wait": max(round(wait, 1), 0)} if etag else {},
            timeout=httpx.Timeout(LOOK + 20.0),
        )

    def events(self, job_id: str, after: int = 0) -> Iterator[EventView]:
        """What happens to the job, from the event numbered `after` on, until it has ended.

        A stream that breaks off is opened again where it broke.
        """
        broken = 0
        while True:
            try:
                for event in self._stream(job_id, after):
                    after, broken = event.seq, 0
                    yield event
                    if event.type == "job.ended":
                        return
            except _EverythingToldError:
                return
            except httpx.TransportError as error:
                broken += 1
                if broken > REOPENINGS:
                    raise ServiceUnreachableError("the event stream", str(error)) from error
            time.sleep(0.2 * 2**broken)

    def _stream(self, job_id: str, after: int) -> Iterator[EventView]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        path = f"/v1/jobs/{job_id}/events"
        with self._transport.stream(path, headers, quiet=QUIET) as answer:
            if answer.status_code == httpx.codes.NO_CONTENT:
                raise _EverythingToldError
            for data in _messages(answer.iter_lines()):
                yield EventView.model_validate(json.loads(data))

    def _submit(self, body: Mapping[str, Any], queueing: Queueing | None) -> JobView:
        options = queueing.model_dump(mode="json", exclude_unset=True) if queueing else {}
        return self._transport.post("/v1/jobs", {**body, **options}, JobView)


class _EverythingToldError(Exception):
    """The job has ended, and there is no event after the one that was asked for."""


def _json(settings: TrainingSettings | CalibrationSettings | TuneSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json")


def _messages(lines: Iterator[str]) -> Iterator[str]:
    """The data of each server-sent event; comments, which keep the line open, are skipped."""
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []
