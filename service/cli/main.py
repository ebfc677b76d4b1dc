"""The command line, `tandemcal`: its commands, and those of the folders beside it.

Modules that need the packages of the server are imported where they are used: the commands of the
client work without those packages.
"""

from itertools import islice
from typing import Annotated

import typer
from rich.console import Console

from service.cli.agent import agent
from service.cli.audit import audit_app
from service.cli.backup import backup, restore
from service.cli.client import (
    DEFAULT_URL,
    Key,
    Url,
    client_of,
    fail,
    local_time,
    say,
    server_packages,
    show_table,
)
from service.cli.keys import keys_app
from service.cli.plots import chip_app
from service.formatting import loss_text
from service.schemas.resources import PredictedLossView

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Calibrates mixed-signal spiking chips with the chip in the loop.",
)
app.add_typer(chip_app, name="chip")
app.add_typer(keys_app, name="keys")
app.add_typer(audit_app, name="audit")
app.command()(agent)
app.command()(backup)
app.command()(restore)

Host = Annotated[str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")]
Port = Annotated[
    int | None, typer.Option(help="Port to listen on, 0 for any (default: 8765).", min=0, max=65535)
]
Chip = Annotated[str, typer.Argument(help="Name or id of the chip.")]
Limit = Annotated[int, typer.Option(help="How many jobs to list.", min=0)]


@app.command()
def up(host: Host = None, port: Port = None) -> None:
    """Run the service: API, pages and jobs in one process."""
    with server_packages():
        from service.cli.serve import serve
        from service.jobs.errors import ExecutorRunningError
        from service.listening import PortTakenError
        from service.private_files import DataFolderError
        from service.tls import TlsFilesError
    try:
        serve(host, port, Console())
    except (PortTakenError, TlsFilesError, DataFolderError, ExecutorRunningError) as error:
        fail(str(error))


@app.command()
def api(host: Host = None, port: Port = None) -> None:
    """Run the API and the pages; workers run the jobs."""
    with server_packages():
        from service.cli.serve import serve_api
        from service.listening import PortTakenError
        from service.private_files import DataFolderError
        from service.tls import TlsFilesError
    try:
        serve_api(host, port, Console())
    except (PortTakenError, TlsFilesError, DataFolderError) as error:
        fail(str(error))


@app.command()
def worker() -> None:
    """Run jobs. Several workers can share one PostgreSQL database."""
    with server_packages():
        from service.cli.worker import work
        from service.jobs.errors import ExecutorNameTakenError, ExecutorRunningError
        from service.private_files import DataFolderError
    try:
        work()
    except (ExecutorRunningError, ExecutorNameTakenError, DataFolderError) as error:
        fail(str(error))


@app.command()
def demo() -> None:
    """Start a service, calibrate five simulated chips over HTTP, and stop the service."""
    with server_packages("server,examples"):
        from service.cli.demo import DemoError, run_demo
    try:
        code = run_demo(Console())
    except DemoError as error:
        fail(str(error))
    raise typer.Exit(code)


@app.command()
def migrate() -> None:
    """Migrate the database to the newest schema. `up` does this at its start, too."""
    with server_packages():
        from service.cli.environment import read_settings
        from service.db.migrate import upgrade
        from service.db.session import shown_url
        from service.private_files import DataFolderError, keep_private
    settings = read_settings()
    try:
        keep_private(settings.data_dir)
    except DataFolderError as error:
        fail(str(error))
    upgrade(settings.database)
    say(f"The database {shown_url(settings.database)} is up to date.")


@app.command()
def chips(url: Url = DEFAULT_URL, key: Key = "") -> None:
    """List the chips with health, state, accuracy, drift score and predicted loss."""
    with client_of(url, key) as client:
        rows = [
            (
                *(c.name, c.health, c.state, _percent(c.accuracy), _score(c.drift_score)),
                *(_loss(c.predicted_loss), c.version_in_force, c.queue_depth),
            )
            for c in client.chips.list()
        ]
    titles = ["Chip", "Health", "State", "Accuracy", "Drift", "Predicted loss", "Version", "Queue"]
    show_table(titles, rows)


@app.command()
def probe(chip: Chip, url: Url = DEFAULT_URL, key: Key = "") -> None:
    """Measure how far a chip has drifted, and wait for the result."""
    with client_of(url, key) as client:
        found = client.chips.find(chip)
        job = client.jobs.wait(client.jobs.probe(found.id if found else chip).id)
    if job.status != "succeeded" or job.result is None:
        fail(f"The probe of {chip} ended as {job.status}: {job.reason}")
    score = _score(job.result["score"]) or "not known: its weights have no fingerprint"
    loss, health = loss_text(job.result.get("predicted_loss")), job.result["health"]
    say(f"{chip}: {loss}, drift score {score}, health {health}.")


@app.command()
def jobs(url: Url = DEFAULT_URL, key: Key = "", limit: Limit = 20) -> None:
    """List the newest jobs, with the reason why they wait or failed."""
    with client_of(url, key) as client:
        rows = [
            (j.id, j.kind, j.status, j.queue_position, local_time(j.expected_start), j.reason)
            for j in islice(client.jobs.list(), limit)
        ]
    show_table(["Job", "Kind", "Status", "Place", "Expected start", "Reason"], rows)


def main() -> None:
    """Run the `tandemcal` command."""
    app()


def _score(score: float | None) -> str | None:
    return None if score is None else f"{score:.2f}"


def _loss(loss: PredictedLossView | None) -> str | None:
    return None if loss is None else loss_text(loss.model_dump())


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"
