"""The command line: `tandemcal up`, `api`, `worker`, `demo`, `migrate`, `chips`, `jobs`.

Modules that need the packages of the server are imported where they are used: the commands of the
client work without those packages.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from service.cli.agent import agent
from service.cli.backup import backup, restore
from service.cli.plots import chip_app
from service.client.errors import TandemcalError
from service.client.sdk import Tandemcal
from service.formatting import loss_text
from service.schemas.resources import PredictedLossView

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Calibrates mixed-signal spiking chips with the chip in the loop.",
)
app.add_typer(chip_app, name="chip")
app.command()(agent)
app.command()(backup)
app.command()(restore)

Host = Annotated[str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")]
Port = Annotated[
    int | None, typer.Option(help="Port to listen on, 0 for any (default: 8765).", min=0, max=65535)
]
Url = Annotated[str, typer.Option(envvar="TANDEMCAL_URL", help="URL of the service.")]
Key = Annotated[
    str,
    typer.Option(
        envvar="TANDEMCAL_KEY",
        help="API key (default: the key that a service on this machine created).",
    ),
]
Chip = Annotated[str, typer.Argument(help="Name or id of the chip.")]
Limit = Annotated[int, typer.Option(help="How many jobs to list.", min=0)]
DEFAULT_URL = "http://127.0.0.1:8765"


@app.command()
def up(host: Host = None, port: Port = None) -> None:
    """Run the service: API, pages and jobs in one process."""
    with _server_packages():
        from service.cli.serve import serve
        from service.jobs.errors import ExecutorRunningError
        from service.listening import PortTakenError
    try:
        serve(host, port, Console())
    except (PortTakenError, ExecutorRunningError) as error:
        _fail(str(error))


@app.command()
def api(host: Host = None, port: Port = None) -> None:
    """Run the API and the pages; workers run the jobs."""
    with _server_packages():
        from service.cli.serve import serve_api
        from service.listening import PortTakenError
    try:
        serve_api(host, port, Console())
    except PortTakenError as error:
        _fail(str(error))


@app.command()
def worker() -> None:
    """Run jobs. Several workers can share one PostgreSQL database."""
    with _server_packages():
        from service.cli.worker import work
        from service.jobs.errors import ExecutorNameTakenError, ExecutorRunningError
    try:
        work()
    except (ExecutorRunningError, ExecutorNameTakenError) as error:
        _fail(str(error))


@app.command()
def demo() -> None:
    """Start a service, calibrate five simulated chips over HTTP, and stop the service."""
    with _server_packages("server,examples"):
        from service.cli.demo import DemoError, run_demo
    try:
        code = run_demo(Console())
    except DemoError as error:
        _fail(str(error))
    raise typer.Exit(code)


@app.command()
def migrate() -> None:
    """Migrate the database to the newest schema. `up` does this at its start, too."""
    with _server_packages():
        from service.db.migrate import upgrade
        from service.db.session import shown_url
        from service.private_files import keep_private
        from service.settings import Settings
    settings = Settings()
    keep_private(settings.data_dir)
    upgrade(settings.database)
    Console().print(f"The database {shown_url(settings.database)} is up to date.", highlight=False)


@app.command()
def chips(url: Url = DEFAULT_URL, key: Key = "") -> None:
    """List the chips with health, state, accuracy, drift score and predicted loss."""
    with _client(url, key) as client:
        rows = [
            (
                *(c.name, c.health, c.state, _percent(c.accuracy), _score(c.drift_score)),
                *(_loss(c.predicted_loss), c.version_in_force, c.queue_depth),
            )
            for c in client.chips.list()
        ]
    titles = ["Chip", "Health", "State", "Accuracy", "Drift", "Predicted loss", "Version", "Queue"]
    _show(titles, rows)


@app.command()
def probe(chip: Chip, url: Url = DEFAULT_URL, key: Key = "") -> None:
    """Measure how far a chip has drifted, and wait for the result."""
    with _client(url, key) as client:
        found = client.chips.find(chip)
        job = client.jobs.wait(client.jobs.probe(found.id if found else chip).id)
    if job.status != "succeeded" or job.result is None:
        _fail(f"The probe of {chip} ended as {job.status}: {job.reason}")
    score = _score(job.result["score"]) or "not known: its weights have no fingerprint"
    loss, health = loss_text(job.result.get("predicted_loss")), job.result["health"]
    line = f"{chip}: {loss}, drift score {score}, health {health}."
    Console().print(line, highlight=False)


@app.command()
def jobs(url: Url = DEFAULT_URL, key: Key = "", limit: Limit = 20) -> None:
    """List the newest jobs, with the reason why they wait or failed."""
    with _client(url, key) as client:
        rows = [
            (j.id, j.kind, j.status, j.queue_position, _clock(j.expected_start), j.reason)
            for j in islice(client.jobs.list(), limit)
        ]
    _show(["Job", "Kind", "Status", "Place", "Expected start", "Reason"], rows)


def main() -> None:
    """Run the `tandemcal` command."""
    app()


@contextmanager
def _server_packages(extras: str = "server") -> Iterator[None]:
    """Exit with a message if a package of the server is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        _fail(
            f"This command needs the server's packages ('{error.name}' is missing); "
            f"install them: pip install 'tandemcal[{extras}]'"
        )


@contextmanager
def _client(url: str, key: str) -> Iterator[Tandemcal]:
    """Open a client; an error of the service ends the command with its message."""
    try:
        with Tandemcal(url, key or _key_file().read_text().strip()) as client:
            yield client
    except FileNotFoundError:
        _fail(f"There is no key in {_key_file()}. Give one with --key or TANDEMCAL_KEY.")
    except TandemcalError as error:
        _fail(str(error))


def _key_file() -> Path:
    """Return the file in which a service on this machine stores its first key."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(os.environ.get("TANDEMCAL_DATA_DIR") or Path(home) / "tandemcal") / "key"


def _show(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    table = Table(*columns)
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row))
    Console().print(table)


def _clock(time: datetime | None) -> str | None:
    """Format a time in the time zone of this machine."""
    return None if time is None else f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def _score(score: float | None) -> str | None:
    return None if score is None else f"{score:.2f}"


def _loss(loss: PredictedLossView | None) -> str | None:
    return None if loss is None else loss_text(loss.model_dump())


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True).print(sentence, highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(1)
