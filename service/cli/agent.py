"""`tandemcal agent`: serves one chip over HTTP, and registers it with the service."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from ltl_core.errors import CalibrationError
from service.cli.client import fail, server_packages

Chip = Annotated[
    str | None, typer.Option(help="Name of a preset, or a file with a chip spec (default: ideal).")
]
Seed = Annotated[
    int | None, typer.Option(help="Seed of the simulated chip (default: from the name).")
]
Name = Annotated[str | None, typer.Option(help="Name of the chip (default: name of the machine).")]
Service = Annotated[str | None, typer.Option(help="URL of the service to register with.")]
JoinKeyFile = Annotated[
    Path | None, typer.Option(help="File with a key of the scope 'agent', or with the join key.")
]
Host = Annotated[str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")]
Port = Annotated[
    int | None, typer.Option(help="Port to listen on, 0 for any (default: 8770).", min=0, max=65535)
]
Advertise = Annotated[str | None, typer.Option(help="URL at which workers reach this agent.")]
TlsCertificate = Annotated[
    Path | None, typer.Option(help="Certificate of this agent (PEM); it is then called by https.")
]
TlsKey = Annotated[Path | None, typer.Option(help="Key of that certificate (PEM).")]
ServiceCa = Annotated[
    Path | None, typer.Option(help="Authority of the service's certificate (PEM), the only one.")
]
DataDir = Annotated[Path | None, typer.Option(help="Folder for the state of the chip.")]


def agent(
    chip: Chip = None,
    seed: Seed = None,
    name: Name = None,
    service: Service = None,
    join_key_file: JoinKeyFile = None,
    host: Host = None,
    port: Port = None,
    advertise: Advertise = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    service_ca: ServiceCa = None,
    data_dir: DataDir = None,
) -> None:
    """Serve one chip to the workers of a service.

    Each option can be set in the environment: TANDEMCAL_AGENT_NAME, TANDEMCAL_AGENT_PORT, ...
    """
    given = {key: value for key, value in locals().items() if value is not None}
    with server_packages():
        from service.bench.agent.process import run_agent
        from service.cli.environment import read_agent_settings
    settings = read_agent_settings(given)
    try:
        with server_packages():
            run_agent(settings, Console())
    except (CalibrationError, ValidationError, OSError) as error:
        fail(str(error))
