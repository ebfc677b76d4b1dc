"""What becomes of a job that a command submitted: followed, shown, and turned into an exit code."""

import typer
from rich.console import Console

from service.cli.client import answer
from service.cli.exit_codes import ExitCode
from service.cli.progress import follow_all, words_about
from service.client.sdk import Tandemcal
from service.formatting import short_id
from service.schemas.jobs import JobView


def conclude(client: Tandemcal, job: JobView, *, wait: bool, as_json: bool) -> None:
    """Follow a job to its end if asked to, show it, and end the command with 1 if it failed.

    Progress goes to the standard error, so that the standard output holds the result alone.
    """
    name = f"{job.kind} {short_id(job.id)}"
    if wait:
        [job] = follow_all(client.jobs, {name: job}, Console(stderr=True))
    answer(job, f"{name}: {words_about(job)}", as_json=as_json)
    if job.terminal and job.status != "succeeded":
        raise typer.Exit(ExitCode.FAILED)
