"""`tandemcal chip plot`: plots of a chip model, drawn without a service."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ltl_core.errors import CalibrationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chip_sim.spec import ChipSpec

chip_app = typer.Typer(no_args_is_help=True, help="Chip models, without a service.")

Spec = Annotated[
    str, typer.Argument(help="Name of a preset, or a YAML or JSON file with a chip spec.")
]
Out = Annotated[Path, typer.Option(help="Folder to write the plots to.")]
Seed = Annotated[int, typer.Option(help="Seed of the simulated chip.")]
_COLUMNS_SHOWN = 24


@chip_app.callback()
def _chip() -> None:
    """Make `plot` a subcommand, although it is the only one."""


@chip_app.command()
def plot(spec: Spec, out: Out = Path("chip-plots"), seed: Seed = 1) -> None:
    """Plot conductance over time, ADC codes of the columns, and weight errors of a tile."""
    console = Console()
    try:
        chosen = chosen_spec(spec)
    except (CalibrationError, OSError) as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True)
        raise typer.Exit(1) from error
    try:
        import matplotlib as _  # noqa: F401
    except ImportError as error:
        sentence = "This command needs matplotlib; install it: pip install 'tandemcal[plots]'"
        console.print(sentence, markup=False)  # the brackets are no markup
        raise typer.Exit(1) from error
    for path in draw_all(chosen, seed, out):
        console.print(str(path), soft_wrap=True)


def chosen_spec(word: str) -> "ChipSpec":
    """Return the spec of the preset of that name, else that in the file of that name.

    Raises CalibrationError if the spec is not valid or the preset unknown, OSError for the file.
    """
    from chip_sim.spec_file import find_spec

    return find_spec(word)


def draw_all(spec: "ChipSpec", seed: int, folder: Path) -> list[Path]:
    """Write every plot of this chip as PNG, and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, Callable[[ChipSpec, int], Figure]] = {
        "conductance": draw_conductance,
        "columns": draw_columns,
        "weight-error": draw_weight_error,
    }
    paths = []
    for name, draw in pictures.items():
        paths.append(folder / f"{spec.model}-{name}.png")
        draw(spec, seed).savefig(paths[-1], dpi=140)
    return paths


def draw_conductance(spec: "ChipSpec", seed: int) -> "Figure":
    """Plot conductance over time for every level: mean, one standard deviation, one device."""
    from matplotlib.figure import Figure

    from chip_sim.portrait import ageing

    lives = ageing(spec, seed)
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    times = lives.times.numpy()
    curves = (1e6 * part.numpy() for part in (lives.mean, lives.sd, lives.single))
    for level, mean, sd, single in zip(lives.levels, *curves, strict=True):
        (line,) = axes.plot(times, mean, label=f"{level:g}", linewidth=1.6)
        axes.fill_between(
            times, (mean - sd).clip(min=0), mean + sd, alpha=0.18, color=line.get_color()
        )
        axes.plot(times, single, color=line.get_color(), linewidth=0.6)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(0, float(lives.times[-1]))
    _mark_times(axes, float(lives.times[-1]))
    axes.set_ylabel("conductance, µS")
    axes.set_title(f"{spec.model}: mean, ± 1 sd, and one device (thin)")
    figure.legend(title="target, of g_max", loc="outside right center", reverse=True)
    return figure


def draw_columns(spec: "ChipSpec", seed: int) -> "Figure":
    """Plot ADC codes of some columns against their sums, and their difference from the ideal."""
    from matplotlib.figure import Figure

    from chip_sim.portrait import code_max, column_curves

    curves, top = column_curves(spec, seed), code_max(spec)
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    sums = curves.sums.numpy()
    ideal = (sums * top).clip(-top, top)
    for codes in curves.codes[:_COLUMNS_SHOWN].numpy():
        above.plot(sums, codes, linewidth=0.6, color="#2a6f97", alpha=0.6)
        below.plot(sums, codes - ideal, linewidth=0.6, color="#2a6f97", alpha=0.6)
    above.plot(sums, ideal, color="black", linewidth=1, linestyle="--", label="ideal")
    above.set_ylabel("ADC code")
    above.legend()
    below.set_ylabel("code minus ideal, LSB")
    below.set_xlabel("column sum, of full scale")
    below.axhline(0, color="black", linewidth=0.8)
    shown = min(_COLUMNS_SHOWN, len(curves.codes))
    above.set_title(f"{spec.model}: {shown} columns of one tile, {spec.converter.adc_bits} bits")
    return figure


def draw_weight_error(spec: "ChipSpec", seed: int) -> "Figure":
    """Plot weight minus code on one tile, after programming and a day later."""
    from matplotlib.figure import Figure

    from chip_sim.portrait import tile_error

    errors = tile_error(spec, seed)
    limit = max(3 * float(errors.fresh.std()), 1.5 * float(errors.after_a_day.std()), 0.5)
    figure = Figure(figsize=(9.2, 4.4), layout="constrained")
    for axes, error, when in zip(
        figure.subplots(1, 2, sharey=True),
        errors,
        ("after programming", "a day later"),
        strict=True,
    ):
        shown = axes.imshow(
            error.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
        )
        axes.set_title(f"{when}: sd {float(error.std()):.2f} codes")
        axes.set_xlabel("row")
        axes.set_ylabel("column")
    figure.colorbar(shown, ax=figure.axes, label="weight minus code", extend="both")
    figure.suptitle(f"{spec.model}: one tile, random codes up to ±{spec.code_max}")
    return figure


def _mark_times(axes: "Axes", last: float) -> None:
    marks = {0: "0", 1: "1 s", 60: "1 min", 3600: "1 h", 86400: "1 d", 2592000: "30 d"}
    marks[365 * 86400] = "1 y"
    kept = {time: name for time, name in marks.items() if time <= last * 1.001}
    axes.set_xticks(list(kept), list(kept.values()))
    axes.minorticks_off()
    axes.set_xlabel("time since the write")
