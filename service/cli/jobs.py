"""`tandemcal jobs`: list, show, submit, watch, cancel and retry jobs, and print their logs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.client import (
    DEFAULT_URL,
    AsJson,
    Key,
    Url,
    Wait,
    answer,
    client_of,
    local_time,
    read_json,
    say,
    show_json,
)
from service.cli.listing import ListingGroup
from service.cli.progress import words_about
from service.cli.submitted import conclude
from service.cli.tables import Column, show_facts, show_table
from service.client.sdk import Tandemcal
from service.formatting import plural, short_id
from service.schemas.jobs import JobView

jobs_app = typer.Typer(cls=ListingGroup, help="List, submit, watch, cancel and retry jobs.")
Job = Annotated[str, typer.Argument(help="Id or short id of the job.")]
OptionalJob = Annotated[str | None, typer.Argument(help="Id or short id of the job.")]
Limit = Annotated[int, typer.Option(help="How many jobs to list.", min=0)]
Status = Annotated[str | None, typer.Option(help="Only jobs of this status, such as running.")]
Kind = Annotated[str | None, typer.Option(help="Only jobs of this kind, such as calibrate.")]
OfChip = Annotated[str | None, typer.Option("--chip", help="Only jobs of this chip.")]
RequestFile = Annotated[
    Path, typer.Argument(help="JSON file with a request of POST /v1/jobs, - for standard input.")
]

_NO_JOB = "There is no such job; tandemcal chips calibrate CHIP submits one."


@jobs_app.command("list")
def list_jobs(
    limit: Limit = 20,
    status: Status = None,
    kind: Kind = None,
    chip: OfChip = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """List the newest jobs, with the reason why they wait or failed."""
    with client_of(url, key) as client:
        chip_id = None if chip is None else client.chips.get(chip).id
        wanted = client.jobs.list(status=status, kind=kind, chip_id=chip_id)
        found = list(islice(wanted, limit))
        names = {} if as_json else _names_of_chips(client, found)
    if as_json:
        show_json(found)
        return
    rows = [
        (
            *(short_id(j.id), j.kind, j.chip_id and names[j.chip_id], j.status.replace("_", " ")),
            *(j.queue_position, local_time(j.expected_start, "%H:%M"), j.reason or words_about(j)),
        )
        for j in found
    ]
    columns: list[Column | str] = [
        *("Job", "Kind", Column("Chip", words=True), Column("Status", words=True)),
        *(Column("Place", figures=True), "Start", Column("Reason or result", words=True)),
    ]
    show_table(columns, rows, _NO_JOB)


@jobs_app.command()
def show(job: Job, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Show one job: its request, its progress and its result."""
    with client_of(url, key) as client:
        found = client.jobs.find(job)
        names = {} if as_json else _names_of_chips(client, [found])
    if as_json:
        show_json(found)
        return
    show_facts(
        [
            *(("job", found.id), ("kind", found.kind), ("status", found.status)),
            *(("state", words_about(found)), ("reason", found.reason)),
            ("chip", found.chip_id and names[found.chip_id]),
            ("student", found.student_id and short_id(found.student_id)),
            ("target set", found.target_set_id and short_id(found.target_set_id)),
            *(("place", found.queue_position), ("starts", local_time(found.expected_start))),
            *(("created", local_time(found.created_at)), ("started", local_time(found.started_at))),
            *(("ended", local_time(found.ended_at)), ("attempt", found.attempt)),
            *(("spent", _words(found.spent)), ("result", _words(found.result))),
        ]
    )


@jobs_app.command()
def submit(
    request: RequestFile,
    wait: Wait = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Submit a request of any kind of job, as the HTTP API takes it."""
    body = read_json(request)
    with client_of(url, key) as client:
        conclude(client, client.jobs.submit(body), wait=wait, as_json=as_json)


@jobs_app.command()
def watch(job: Job, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Follow a job to its end; the exit code is 1 if it did not succeed."""
    with client_of(url, key) as client:
        conclude(client, client.jobs.find(job), wait=True, as_json=as_json)


@jobs_app.command()
def cancel(
    job: OptionalJob = None,
    status: Status = None,
    kind: Kind = None,
    chip: OfChip = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Cancel a job, or all open jobs of a chip, a status or a kind.

    A waiting job ends at once, a running one after its current step.
    """
    if (job is None) == (status is None and kind is None and chip is None):
        raise typer.BadParameter("name a job, or at least one of --chip, --status and --kind")
    with client_of(url, key) as client:
        if job is None:
            _cancel_all(client, status, kind, chip, as_json=as_json)
            return
        found = client.jobs.cancel(client.jobs.find(job).id)
    answer(found, f"{found.kind} {short_id(found.id)}: {found.status}", as_json=as_json)


@jobs_app.command()
def retry(
    job: Job,
    wait: Wait = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Submit the request of a job that has ended again, as a new job."""
    with client_of(url, key) as client:
        made = client.jobs.retry(client.jobs.find(job).id)
        conclude(client, made, wait=wait, as_json=as_json)


@jobs_app.command()
def log(job: Job, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Print the log of a job so far; with --json its events, one in a line, until it ends."""
    with client_of(url, key) as client:
        found = client.jobs.find(job)
        if as_json:
            for event in client.jobs.events(found.id):
                typer.echo(event.model_dump_json())
        else:
            typer.echo(client.jobs.log(found.id))


def _cancel_all(
    client: Tandemcal, status: str | None, kind: str | None, chip: str | None, *, as_json: bool
) -> None:
    statuses = None if status is None else [status]
    found = client.jobs.cancel_all(chip_id=chip, status=statuses, kind=kind)
    if as_json:
        typer.echo(json.dumps({"cancelled": len(found), "job_ids": found}))
    else:
        say(f"{plural(len(found), 'job')} cancelled")


def _names_of_chips(client: Tandemcal, jobs: Sequence[JobView]) -> dict[str, str]:
    """Return the names of the chips of these jobs by id."""
    ids = {job.chip_id for job in jobs if job.chip_id is not None}
    return {chip_id: client.chips.get(chip_id).name for chip_id in ids}


def _words(found: Mapping[str, Any] | None) -> str | None:
    """Return the plain figures in words, and those of a part under its name; --json shows all."""
    return ", ".join(_figures(found or {})) or None


def _figures(found: Mapping[str, Any], part: str = "") -> Iterator[str]:
    for name, value in found.items():
        called = f"{part}{name.replace('_', ' ')}"
        if isinstance(value, Mapping) and not part:
            yield from _figures(value, f"{called} ")
        elif isinstance(value, bool):
            yield f"{called} {'yes' if value else 'no'}"
        elif isinstance(value, int | str):
            yield f"{called} {value}"
        elif isinstance(value, float):
            yield f"{called} {value:.4g}"
