"""A chip behind an agent: each verb of the port is one HTTP call, and each answer is checked."""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import TypeVar

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
    SideWeights,
    Stimulus,
    Tuning,
    TuningInfo,
    WriteReport,
)
from ltl_core.default_probe import probe_by_run
from ltl_core.errors import CalibrationError, ChipUnavailableError, NoSideWeightsError
from ltl_core.network.spec import NetworkSpec
from ltl_core.optional_verbs import check_registers, write_one_by_one
from service.bench.driver import answer_limits, answers
from service.bench.driver.answer_limits import NO_TENSORS, AnswerLimit
from service.bench.driver.call_times import CallTime
from service.bench.driver.rpc_client import AgentAddress, Locate, RpcClient
from service.bench.protocol import messages
from service.bench.protocol.wire import MalformedBodyError, Message

_Read = TypeVar("_Read")


def open_http_chip(
    chip_id: str, address: AgentAddress, token: int, locate: Locate | None = None
) -> "HttpChip":
    """Open the chip behind the agent at this address, for the lease with this token.

    `locate` is asked for the agent's address again while the agent is not found there. Raises
    ChipUnavailableError, and LeaseLostError if the agent has seen a higher token.
    """
    client = RpcClient(chip_id, address, token, locate)
    try:
        with _checked(chip_id, "info"):
            answer = client.call("info", Message(), NO_TENSORS)
            return HttpChip(client, answers.read_info(answer, chip_id), answers.read_verbs(answer))
    except CalibrationError:
        client.close()
        raise


class HttpChip:
    """The port of a chip behind an agent.

    Every method raises what the chip raises there, LeaseLostError if the agent has seen a higher
    lease token, and ChipUnavailableError if the agent does not answer or answers what no chip can.
    """

    def __init__(self, client: RpcClient, info: ChipInfo, known_verbs: Collection[str]) -> None:
        self._client = client
        self._known_verbs = known_verbs  # of its agent
        self._info = info
        self._placement: Placement | None = None
        self._clock = 0.0  # s, the latest that the chip's clock was read

    @property
    def info(self) -> ChipInfo:
        """Description of the chip, as its agent said when the chip was opened."""
        return self._info

    def place(self, placement: Placement) -> None:
        """Place a network; later answers are checked against its layers."""
        self._call("place", messages.place_request(placement), answers.read_nothing)
        self._placement = placement

    def program(self, layer: str, codes: Int[Tensor, "column row"]) -> WriteReport:
        """Write the cells whose code changed."""
        request = messages.program_request(layer, codes)
        limit = answer_limits.of_program(layer, codes.numel())
        read = partial(answers.read_report, codes=codes)
        return self._call("program", request, read, limit)

    def trim(
        self, layer: str, threshold: Int[Tensor, " column"], bias: Int[Tensor, " column"]
    ) -> None:
        """Set the trim registers of each column."""
        request = messages.trim_request(layer, threshold, bias)
        self._call("trim", request, answers.read_nothing)

    def write(self, codes: Mapping[str, LayerCodes]) -> Mapping[str, WriteReport]:
        """Write many layers in one call, or in two calls each if the agent is too old for that."""
        if "write" not in self._known_verbs:
            return write_one_by_one(self, codes)
        request, limit = messages.write_request(codes), answer_limits.of_write(codes)
        return self._call(
            "write", request, lambda answer: answers.read_reports(answer, codes), limit
        )

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        """Present the stimulus and return what was asked of each layer."""

        def read(answer: Message) -> Recording:
            recording = answers.read_recording(answer, stimulus, record, self._network)
            self._check_clock(recording.chip_time)
            return recording

        limit = answer_limits.of_recording(stimulus, record, self._network)
        return self._call("run", messages.run_request(stimulus, record), read, limit)

    def iter_layers(
        self, stimulus: Stimulus, record: Mapping[str, Observable]
    ) -> Generator[tuple[str, LayerRecording], None, None]:
        """Present the stimulus and yield each layer when its agent has sent it.

        If the agent is too old to send single layers, all are yielded after the run. Closing the
        generator drops the layers that were not read.
        """
        if "tell_layers" not in self._known_verbs:
            yield from self.run(stimulus, record).layers.items()
            return
        limit = answer_limits.of_recording(stimulus, record, self._network)
        with _checked(self._info.chip_id, "tell_layers"):
            request = messages.run_request(stimulus, record)
            shown = self._client.stream("tell_layers", request, limit)
            with closing(shown):
                yield from answers.read_layers(shown, stimulus, record, self._network)
                self._check_clock(answers.read_last(shown))

    def probe(self) -> Fingerprint:
        """Return the chip's answer to its own fixed stimulus, or to the default one.

        An agent of an earlier version that names no verbs has the verb.
        """
        if self._known_verbs and "probe" not in self._known_verbs:
            return probe_by_run(self, self._placement)

        def read(answer: Message) -> Fingerprint:
            fingerprint = answers.read_fingerprint(answer, self._network)
            self._check_clock(fingerprint.chip_time)
            return fingerprint

        return self._call("probe", Message(), read, answer_limits.of_columns(self._network))

    def settle(self, seconds: float) -> None:
        """Leave the chip alone for `seconds` on its own clock; silicon answers only then."""
        request, extra_s = messages.settle_request(seconds), max(0.0, seconds)
        self._call("settle", request, answers.read_nothing, extra_s=extra_s)

    def now(self) -> float:
        """Return the chip's clock, in seconds."""

        def read(answer: Message) -> float:
            now = answers.read_time(answer)
            self._check_clock(now)
            return now

        return self._call("now", Message(), read)

    def tuning(self, layer: str) -> Tuning:
        """Return the register codes under a layer."""
        return self._call(
            "tuning",
            messages.tuning_request(layer),
            lambda answer: answers.read_registers(answer, self._registers),
            answer_limits.of_registers(layer, self._network),
        )

    def tune(self, layer: str, tuning: Tuning) -> None:
        """Set the registers under a layer."""
        check_registers(layer, tuning, self._registers)
        self._call("tune", messages.tune_request(layer, tuning), answers.read_nothing)

    def convert(self, layer: str, level: float, repeats: int) -> Int[Tensor, "repeat tile column"]:
        """Return ADC codes for the reference current, `level` of full scale."""
        request = messages.convert_request(layer, level, repeats)
        return self._call(
            "convert",
            request,
            lambda answer: answers.read_conversions(answer, repeats, self._registers),
            answer_limits.of_conversions(layer, repeats, self._network),
        )

    def excite(
        self, layer: str, current: Float[Tensor, "time column"], repeats: int
    ) -> Int[Tensor, "repeat column"]:
        """Return spike counts of neurons on the test current."""
        request = messages.excite_request(layer, current, repeats)
        return self._call(
            "excite",
            request,
            lambda answer: answers.read_excitation(answer, current, repeats),
            answer_limits.of_excitation(repeats, current.shape[-1]),
        )

    def clipped(self, stimulus: Stimulus) -> Mapping[str, Float[Tensor, " tile"]]:
        """Return the fraction of ADC conversions that saturated, for each layer reached."""
        return self._call(
            "clipped",
            messages.clipped_request(stimulus),
            lambda answer: answers.read_fractions(answer, self._network),
            answer_limits.of_tiles(self._network),
        )

    def set_side(self, layer: str, weights: SideWeights | None) -> None:
        """Set the side weights of a layer. Raises NoSideWeightsError if its agent knows of none."""
        if not self._info.side_rank or "set_side" not in self._known_verbs:
            raise NoSideWeightsError(self._info.chip_id)
        self._call("set_side", messages.set_side_request(layer, weights), answers.read_nothing)

    @property
    def call_times(self) -> Mapping[str, CallTime]:
        """Calls of each verb, and the seconds until they were answered."""
        return self._client.times.so_far()

    def close(self) -> None:
        """Close the connection; the chip keeps its state."""
        self._client.close()

    @property
    def _network(self) -> NetworkSpec | None:
        return None if self._placement is None else self._placement.network

    @property
    def _registers(self) -> TuningInfo:
        if self._info.tuning is None:
            raise MalformedBodyError("it has no registers to tune")
        return self._info.tuning

    def _call(
        self,
        verb: str,
        request: Message,
        read: Callable[[Message], _Read],
        limit: AnswerLimit = NO_TENSORS,
        extra_s: float = 0.0,
    ) -> _Read:
        with _checked(self._info.chip_id, verb):
            return read(self._client.call(verb, request, limit, extra_s))

    def _check_clock(self, now: float) -> None:
        if now < self._clock:
            raise MalformedBodyError(f"its clock went back from {self._clock} s to {now} s")
        self._clock = now


@contextmanager
def _checked(chip_id: str, verb: str) -> Iterator[None]:
    """Raise ChipUnavailableError for an answer that no chip can give: its bench is broken."""
    try:
        yield
    except MalformedBodyError as error:
        reason = f"its agent gave an impossible answer to '{verb}': {error.reason}"
        raise ChipUnavailableError(chip_id, reason) from error
