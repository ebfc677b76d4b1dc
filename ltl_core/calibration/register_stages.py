"""The stages of a calibration that set registers alone, and the way back from them."""

from collections.abc import Callable, Iterator, Mapping

from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.compensation import CompensationResult
from ltl_core.calibration.drift import MeanFingerprint
from ltl_core.calibration.drift_stage import make_compensation
from ltl_core.calibration.registers import LayerRegisters, Registers, read_registers, set_registers
from ltl_core.calibration.result import Checkpoint
from ltl_core.calibration.tune_stage import make_tuner
from ltl_core.chip import ChipBackend, LayerCodes
from ltl_core.settings import StageName
from ltl_core.spiking.inputs import are_sequences
from ltl_core.student.student import Student
from ltl_core.teaching.targets import TargetSet


class RegisterStages:
    """Compensates the drift of a chip, or tunes it, before anything is learned.

    Every method raises what the chip raises.
    """

    def __init__(
        self,
        chip: ChipBackend,
        golden: Student,
        published: MeanFingerprint | None,
        checkpoint: Checkpoint | None,
        session: ChipSession,
    ) -> None:
        """`published` is what the chip answered when the weights in force were published.

        `session` drives the chip, and counts the samples that are measured.
        """
        self._chip, self._golden, self._published = chip, golden, published
        self._session = session
        self.registers = Registers() if checkpoint is None else checkpoint.registers
        self.compensation: CompensationResult | None = (
            None if checkpoint is None else checkpoint.compensation
        )

    @property
    def is_changed(self) -> bool:
        """Whether a stage has left other registers than those of the start."""
        return self.registers.are_changed

    def begin(self) -> None:
        """Note the registers of the placed chip, to go back to."""
        found = self._read()
        self.registers = Registers(found, found)

    def restore(self) -> None:
        """Set the registers that the stages found, or those of the start if none has ended."""
        set_registers(self._chip, self.registers.current)

    def roll_back(self) -> None:
        """Set the registers of the start."""
        set_registers(self._chip, self.registers.initial)

    def steps(
        self,
        names: tuple[StageName, ...],
        opens: Callable[[StageName], bool],
        codes: Mapping[str, LayerCodes],
        samples: TargetSet,
    ) -> Iterator[None]:
        """Run those of the stages that the chip needs; `opens` tells whether one may begin.

        Gains that were found to make up for drift stay: a tuning would begin without them.
        """
        if StageName.DRIFT in names:
            yield from self._compensate(opens, samples)
        if StageName.TUNE in names and not self._is_compensated:
            yield from self._tune(opens, codes, samples)

    def _compensate(self, opens: Callable[[StageName], bool], samples: TargetSet) -> Iterator[None]:
        compensation = make_compensation(
            *(self._chip, self._golden, self._published, self._session.responses),
            are_sequences=are_sequences(self._golden.network, samples.samples.inputs),
        )
        if compensation is None or not opens(StageName.DRIFT):
            return
        for _ in compensation.steps():
            yield
        self.compensation = compensation.result
        self._note()

    def _tune(
        self,
        opens: Callable[[StageName], bool],
        codes: Mapping[str, LayerCodes],
        samples: TargetSet,
    ) -> Iterator[None]:
        tuner = make_tuner(self._chip, self._golden, codes, samples)
        if tuner is None or not opens(StageName.TUNE):
            return
        for _ in tuner.search():
            yield
        self._note()

    def _note(self) -> None:
        self.registers = self.registers._replace(current=self._read())

    def _read(self) -> LayerRegisters:
        return read_registers(self._chip, self._golden.network)

    @property
    def _is_compensated(self) -> bool:
        return self.compensation is not None and self.compensation.compensated
