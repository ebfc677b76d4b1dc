"""Does another simulator count the same spikes from a student's NIR file?

    python -m benchmarks.nir_agreement [--json FILE] [--check]

A student of the digits is written as NIR, read back, imported by snnTorch and shown the held-out
digits. The second row is a control: a student whose leak is one percent faster is told apart.
"""

import argparse
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import nir
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from snntorch.import_nir import import_from_nir
from torch import Tensor, nn

from benchmarks.learning import prepare
from benchmarks.machine import about
from benchmarks.tasks import tasks
from benchmarks.teachers import scaled
from ltl_core.data.images import as_samples
from ltl_core.interop.to_nir import to_nir
from ltl_core.settings import RuleName
from ltl_core.student.forward import student_traces
from ltl_core.student.student import Student
from ltl_core.teaching.live import LiveTargets
from ltl_core.training.training import Training


class Agreement(NamedTuple):
    """Agreement of the two simulators over all samples."""

    neuron: str
    samples: int
    counts: int  # compared: one a neuron and sample
    counts_that_differ: int
    largest_difference: float  # of two counts
    sums_relative: float  # largest difference of the readout's sums, of their largest value
    decisions_that_differ: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; exit code 1 where --check is given and a spike count differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nir_agreement")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    heading = about("benchmarks.nir_agreement")
    student, inputs = student_of_digits()
    faster = student.neuron.model_copy(update={"decay": student.neuron.decay * 0.99})
    rows = [
        compare("as exported", student, student, inputs),
        compare("leak 1 % faster", student, student._replace(neuron=faster), inputs),
    ]
    Console(width=130).print(table_of(rows))
    if options.json is not None:
        content = heading | {"rows": [row._asdict() for row in rows]}
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 1 if options.check and rows[0].counts_that_differ else 0


def student_of_digits() -> tuple[Student, Tensor]:
    """Train a student as the learning benchmark does; also digits that it has not seen."""
    task = tasks()["digits"]
    setup = prepare(task, task.load(Path()), seed=0)
    train, test = (as_samples(part, task.scaling) for part in setup.split)
    teacher = scaled(setup.teacher, train, 99.9)
    settings = task.settings(RuleName.LTL_OFFLINE, 0)
    training = Training(*setup.teacher, LiveTargets(teacher, train), settings)
    for _ in training.epochs():
        pass
    return training.student, test.inputs


def compare(neuron: str, student: Student, exported: Student, inputs: Tensor) -> Agreement:
    """Run the student here and the other simulator on the same samples."""
    theirs, their_sums = run_elsewhere(exported, inputs)
    *hidden, readout = student_traces(student, inputs)
    ours = torch.cat([w.spikes.sum(0).flatten() for w in hidden if w.spikes is not None])
    difference = (ours - torch.cat([theirs[w.stage.name].flatten() for w in hidden])).abs()
    sums = readout.membrane[-1]
    return Agreement(
        *(neuron, len(inputs), ours.numel(), int((difference > 0).sum()), float(difference.max())),
        sums_relative=float((sums - their_sums).abs().max() / sums.abs().max()),
        decisions_that_differ=int((sums.argmax(1) != their_sums.argmax(1)).sum()),
    )


def run_elsewhere(student: Student, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Spike counts of each layer and sums of the readout, as snnTorch computes them."""
    file = io.BytesIO()
    nir.write(file, to_nir(student))
    module, counts = import_from_nir(nir.read(file)), dict[str, Tensor]()
    for part in module.modules():
        if isinstance(part, nn.Flatten):
            part.start_dim = 1  # NIR counts dimensions without the batch, torch with it
    for name, part in module.named_children():
        if name.endswith("_neurons"):
            part.register_forward_hook(_counter(counts, name.removesuffix("_neurons")))
    sums = torch.zeros(())
    with torch.no_grad():
        for _ in range(student.neuron.steps):
            sums = sums + module(inputs)[0]
    return counts, sums


def table_of(rows: Sequence[Agreement]) -> Table:
    """Build the table, a row for each kind of neuron."""
    table = Table(title="A student here and in snnTorch, through a NIR file", box=box.SIMPLE_HEAD)
    for name in (
        *("Neuron", "Samples", "Counts", "Differ", "Largest"),
        *("Sums (relative)", "Decisions that differ"),
    ):
        table.add_column(name, justify="left" if name == "Neuron" else "right")
    for row in rows:
        table.add_row(
            *(row.neuron, f"{row.samples:,}", f"{row.counts:,}", f"{row.counts_that_differ:,}"),
            *(f"{row.largest_difference:.0f}", f"{row.sums_relative:.1e}"),
            str(row.decisions_that_differ),
        )
    return table


def _counter(counts: dict[str, Tensor], name: str) -> Callable[[nn.Module, object, Tensor], None]:
    def add(_module: nn.Module, _inputs: object, spikes: Tensor) -> None:
        counts[name] = counts.get(name, torch.zeros(())) + spikes

    return add


if __name__ == "__main__":
    sys.exit(main())
