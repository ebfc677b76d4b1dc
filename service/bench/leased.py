"""A chip under a lease: whoever lost it no longer drives."""

from collections.abc import Callable, Iterator, Mapping

from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.chip import (
    BulkWriter,
    ChipBackend,
    ChipInfo,
    Fingerprint,
    LayerCodes,
    LayerRecording,
    Observable,
    Placement,
    Recording,
    Stimulus,
    Tuning,
    WriteReport,
    run_by_layer,
    tunable,
    write_one_by_one,
)
from ltl_core.errors import LeaseLostError


class LeasedBackend:
    """Passes every verb on while the lease is held; raises LeaseLostError afterwards."""

    def __init__(self, backend: ChipBackend, token: int, held: Callable[[], bool]) -> None:
        self._backend = backend
        self._token = token
        self._held = held

    @property
    def info(self) -> ChipInfo:
        return self._backend.info

    def place(self, placement: Placement) -> None:
        self._driven().place(placement)

    def program(self, layer: str, codes: Int[Tensor, "column row"]) -> WriteReport:
        return self._driven().program(layer, codes)

    def trim(
        self, layer: str, threshold: Int[Tensor, " column"], bias: Int[Tensor, " column"]
    ) -> None:
        self._driven().trim(layer, threshold, bias)

    def write(self, codes: Mapping[str, LayerCodes]) -> Mapping[str, WriteReport]:
        """In one call where the chip takes it so; else the lease is looked at layer by layer."""
        driven = self._driven()
        return (
            driven.write(codes) if isinstance(driven, BulkWriter) else write_one_by_one(self, codes)
        )

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        return self._driven().run(stimulus, record)

    def iter_layers(
        self, stimulus: Stimulus, record: Mapping[str, Observable]
    ) -> Iterator[tuple[str, LayerRecording]]:
        """As soon as they are known where the chip tells them so; else after the run."""
        return run_by_layer(self._driven(), stimulus, record)

    def probe(self) -> Fingerprint:
        return self._driven().probe()

    def settle(self, seconds: float) -> None:
        self._driven().settle(seconds)

    def now(self) -> float:
        return self._driven().now()

    def tuning(self, layer: str) -> Tuning:
        return tunable(self._driven()).tuning(layer)

    def tune(self, layer: str, tuning: Tuning) -> None:
        tunable(self._driven()).tune(layer, tuning)

    def convert(self, layer: str, level: float, repeats: int) -> Int[Tensor, "repeat tile column"]:
        return tunable(self._driven()).convert(layer, level, repeats)

    def excite(
        self, layer: str, current: Float[Tensor, "time column"], repeats: int
    ) -> Int[Tensor, "repeat column"]:
        return tunable(self._driven()).excite(layer, current, repeats)

    def clipped(self, stimulus: Stimulus) -> Mapping[str, float]:
        return tunable(self._driven()).clipped(stimulus)

    def _driven(self) -> ChipBackend:
        if not self._held():
            raise LeaseLostError(self._backend.info.chip_id, self._token)
        return self._backend
