"""One chip with one student placed on it: write codes, present samples, count what it costs."""

from collections.abc import Iterator, Mapping

from jaxtyping import Bool, Float
from torch import Tensor

from ltl_core.calibration.observe import observables
from ltl_core.chip import (
    ChipBackend,
    LayerCodes,
    LayerRecording,
    Observable,
    SideWeights,
)
from ltl_core.errors import SettingError
from ltl_core.network.layers import size
from ltl_core.optional_verbs import (
    RewritingChip,
    run_by_layer,
    side_weighted,
    write_layers,
    written_in_runs,
)
from ltl_core.progress import Spent
from ltl_core.settings import Reset
from ltl_core.student.codes import format_of
from ltl_core.student.evaluate import (
    Enough,
    Measurement,
    Quality,
    chip_logits,
    chip_quality,
    chip_quality_until,
    chip_responses,
)
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Batch, Targets


class ChipSession:
    """Drives one chip for one student; `spent` grows with every call, and `failed` with writes.

    Every method raises what the chip raises.
    """

    def __init__(self, backend: ChipBackend, student: Student, spent: Spent | None = None) -> None:
        """Open a session that has `spent` so much already.

        Raises SettingError if the chip takes other codes than the student's, or if the student's
        neurons do not reset to zero.
        """
        if format_of(backend.info) != student.format:
            raise SettingError(
                f"The student is in codes {student.format}, but the chip {backend.info.chip_id} "
                f"takes {format_of(backend.info)}: train a student with these `codes`."
            )
        if student.neuron.reset is not Reset.ZERO:
            raise SettingError(
                "The student's spikes subtract the threshold, but a chip's neurons reset to zero: "
                "train a student with reset 'zero'."
            )
        self._backend, self._student = backend, student
        self.cells = sum(size(layer.weight_shape) for layer in student.network.matrices)
        # Cells that failed to verify at any write, of the layers where there are some.
        self.failed: dict[str, Bool[Tensor, "column row"]] = {}
        self.settled_s = 0.0  # of the chip's clock
        self._side: dict[str, SideWeights] | None = None  # not set by this session yet
        self._spent = spent or Spent()
        self._written = written_in_runs(backend)

    @property
    def spent(self) -> Spent:
        """Samples, cell writes and pulses that this session has spent; writes of runs count too."""
        before, now = self._written, written_in_runs(self._backend)
        self._written = now
        if now != before:
            self._spend(cells=now.cells - before.cells, pulses=now.pulses - before.pulses)
        return self._spent

    @property
    def writes_in_runs(self) -> bool:
        """Whether every run writes cells: the chip holds the network part by part."""
        return isinstance(self._backend, RewritingChip)

    @property
    def side_rank(self) -> int:
        """Largest rank of the chip's side weights; zero if it has none."""
        return self._backend.info.side_rank

    @property
    def has_threshold_trims(self) -> bool:
        """Whether the chip has trims of thresholds."""
        return self._backend.info.threshold_trims

    @property
    def side(self) -> Mapping[str, SideWeights]:
        """The side weights that this session has set, by layer."""
        return dict(self._side or {})

    def place(self) -> None:
        """Place the student's network; if it is placed already, nothing changes."""
        self._backend.place(self._student.placement())

    def write(self, codes: Mapping[str, LayerCodes], *, free: bool = False) -> None:
        """Program the cells whose code changed, and set the trims.

        A `free` write, such as the first one, is not counted as spent.
        """
        cells = pulses = 0
        reports = write_layers(self._backend, codes)
        for report in reports.values():
            cells, pulses = cells + report.cells, pulses + report.pulses
        if not free:
            self._spend(cells=cells, pulses=pulses)
        for name, report in reports.items():
            if report.failed.any():
                self.failed[name] = report.failed | self.failed.get(name, report.failed)

    def set_side(self, side: Mapping[str, SideWeights]) -> None:
        """Set the digital side weights of all layers; one that is not named has none.

        Raises NoSideWeightsError if there are some, and the chip cannot have them.
        """
        if not side and not self.side_rank:
            return
        chip, before = side_weighted(self._backend), self._side
        for layer in self._student.network.matrices:
            weights = side.get(layer.name)
            if before is None or weights is not None or layer.name in before:
                chip.set_side(layer.name, weights)
        self._side = dict(side)

    def present(self, batch: Batch, observable: Observable) -> Iterator[tuple[str, LayerRecording]]:
        """Present a batch to learn from; yield the recording of each layer as soon as it is known.

        The samples are counted as spent at once.
        """
        self._spend(samples=batch.size)
        stimulus = self._student.stimulus(batch.inputs)
        return run_by_layer(self._backend, stimulus, observables(self._student, observable))

    def measure(self, targets: Targets) -> Quality:
        """Measure how good the chip is on samples that it does not learn from."""
        self._spend(samples_measured=targets.size)
        return chip_quality(self._backend, self._student, targets)

    def measure_until(self, targets: Targets, enough: Enough) -> Measurement:
        """Measure how good the chip is on the first samples, until they are `enough`."""
        found = chip_quality_until(self._backend, self._student, targets, enough)
        self._spend(samples_measured=len(found.right))
        return found

    def answers(self, inputs: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch output"]:
        """Return the chip's logits for inputs that it does not learn from."""
        self._spend(samples_measured=len(inputs))
        return chip_logits(self._backend, self._student, inputs)

    def responses(
        self, inputs: Float[Tensor, "batch *shape"]
    ) -> dict[str, Float[Tensor, "batch *_neuron"]]:
        """Return rates of hidden stages and logits for inputs that the chip does not learn from."""
        self._spend(samples_measured=len(inputs))
        return chip_responses(self._backend, self._student, inputs)

    def settle(self, seconds: float) -> None:
        """Leave the chip alone for `seconds` of its own clock."""
        self._backend.settle(seconds)
        self.settled_s += seconds

    def _spend(
        self, samples: int = 0, samples_measured: int = 0, cells: int = 0, pulses: int = 0
    ) -> None:
        before = self._spent
        written = before.cells + cells
        self._spent = Spent(
            samples=before.samples + samples,
            samples_measured=before.samples_measured + samples_measured,
            cells=written,
            pulses=before.pulses + pulses,
            cell_writes_per_cell=written / self.cells,
        )
