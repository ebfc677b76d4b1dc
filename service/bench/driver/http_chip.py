"""A chip behind an agent: the port over HTTP."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager

from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.chip import (
    ChipInfo,
    Fingerprint,
    LayerCodes,
    LayerRecording,
    Observable,
    Placement,
    Recording,
    Stimulus,
    Tuning,
    TuningInfo,
    WriteReport,
    write_one_by_one,
)
from ltl_core.errors import CalibrationError, ChipUnavailableError
from ltl_core.network.spec import NetworkSpec
from service.bench.driver import answers
from service.bench.driver.call_times import CallTime
from service.bench.driver.rpc_client import AgentAddress, RpcClient
from service.bench.protocol import verbs
from service.bench.protocol.wire import MalformedBodyError, Message


def open_http_chip(chip_id: str, address: AgentAddress, token: int) -> "HttpChip":
    """The chip as its agent tells of it, driven under this token. Raises ChipUnavailableError."""
    client = RpcClient(chip_id, address, token)
    try:
        with _doubted(chip_id, "info"):
            answer = client.ask("info", Message())
            return HttpChip(client, answers.read_info(answer, chip_id), answers.read_verbs(answer))
    except CalibrationError:
        client.close()
        raise


class HttpChip:
    """Every verb is one call of the agent, and every answer is checked before it is believed."""

    def __init__(self, client: RpcClient, info: ChipInfo, known: Collection[str]) -> None:
        self._client = client
        self._known = known  # verbs of its agent
        self._info = info
        self._network: NetworkSpec | None = None
        self._clock = 0.0

    @property
    def info(self) -> ChipInfo:
        return self._info

    def place(self, placement: Placement) -> None:
        with self._doubted("place"):
            answers.read_nothing(self._client.ask("place", verbs.ask_place(placement)))
        self._network = placement.network

    def program(self, layer: str, codes: Int[Tensor, "column row"]) -> WriteReport:
        with self._doubted("program"):
            answer = self._client.ask("program", verbs.ask_program(layer, codes))
            return answers.read_report(answer, codes)

    def trim(
        self, layer: str, threshold: Int[Tensor, " column"], bias: Int[Tensor, " column"]
    ) -> None:
        with self._doubted("trim"):
            asked = verbs.ask_trim(layer, threshold, bias)
            answers.read_nothing(self._client.ask("trim", asked))

    def write(self, codes: Mapping[str, LayerCodes]) -> Mapping[str, WriteReport]:
        """One call for all layers, unless the agent is of a version that knows no such call."""
        if "write" not in self._known:
            return write_one_by_one(self, codes)
        with self._doubted("write"):
            return answers.read_reports(self._client.ask("write", verbs.ask_write(codes)), codes)

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        with self._doubted("run"):
            answer = self._client.ask("run", verbs.ask_run(stimulus, record))
            recording = answers.read_recording(answer, stimulus, record, self._network)
            self._check_clock(recording.chip_time)
            return recording

    def iter_layers(
        self, stimulus: Stimulus, record: Mapping[str, Observable]
    ) -> Iterator[tuple[str, LayerRecording]]:
        """Each as soon as its agent has sent it; from an agent of before, all after the run."""
        if "tell_layers" not in self._known:
            yield from self.run(stimulus, record).layers.items()
            return
        with self._doubted("tell_layers"):
            pieces = self._client.listen("tell_layers", verbs.ask_run(stimulus, record))
            with closing(pieces):
                yield from answers.read_layers(pieces, stimulus, record, self._network)
                self._check_clock(answers.read_last(pieces))

    def probe(self) -> Fingerprint:
        with self._doubted("probe"):
            answer = self._client.ask("probe", Message())
            fingerprint = answers.read_fingerprint(answer, self._network)
            self._check_clock(fingerprint.chip_time)
            return fingerprint

    def settle(self, seconds: float) -> None:
        with self._doubted("settle"):
            asked = verbs.ask_settle(seconds)
            answers.read_nothing(self._client.ask("settle", asked, patience=max(0.0, seconds)))

    def now(self) -> float:
        with self._doubted("now"):
            now = answers.read_time(self._client.ask("now", Message()))
            self._check_clock(now)
            return now

    def tuning(self, layer: str) -> Tuning:
        with self._doubted("tuning"):
            answer = self._client.ask("tuning", verbs.ask_tuning(layer))
            return answers.read_registers(answer, self._registers)

    def tune(self, layer: str, tuning: Tuning) -> None:
        with self._doubted("tune"):
            answers.read_nothing(self._client.ask("tune", verbs.ask_tune(layer, tuning)))

    def convert(self, layer: str, level: float, repeats: int) -> Int[Tensor, "repeat tile column"]:
        with self._doubted("convert"):
            answer = self._client.ask("convert", verbs.ask_convert(layer, level, repeats))
            return answers.read_conversions(answer, repeats, self._registers)

    def excite(
        self, layer: str, current: Float[Tensor, "time column"], repeats: int
    ) -> Int[Tensor, "repeat column"]:
        with self._doubted("excite"):
            answer = self._client.ask("excite", verbs.ask_excite(layer, current, repeats))
            return answers.read_excitation(answer, current, repeats)

    def clipped(self, stimulus: Stimulus) -> Mapping[str, float]:
        with self._doubted("clipped"):
            return answers.read_parts(self._client.ask("clipped", verbs.ask_clipped(stimulus)))

    @property
    def call_times(self) -> Mapping[str, CallTime]:
        """How long its agent took to answer."""
        return self._client.times.so_far()

    @property
    def _registers(self) -> TuningInfo:
        if self._info.tuning is None:
            raise MalformedBodyError("it has no registers to tune")
        return self._info.tuning

    def close(self) -> None:
        """Hang up. The chip stays as it is."""
        self._client.close()

    def _check_clock(self, now: float) -> None:
        if now < self._clock:
            raise MalformedBodyError(f"its clock went back from {self._clock} s to {now} s")
        self._clock = now

    def _doubted(self, verb: str) -> AbstractContextManager[None]:
        return _doubted(self._info.chip_id, verb)


@contextmanager
def _doubted(chip_id: str, verb: str) -> Iterator[None]:
    """An answer that no chip could give says that the bench is broken."""
    try:
        yield
    except MalformedBodyError as error:
        reason = f"its agent gave an impossible answer to '{verb}': {error.reason}"
        raise ChipUnavailableError(chip_id, reason) from error
