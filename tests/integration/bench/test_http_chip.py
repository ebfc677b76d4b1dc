"""The driver repeats calls where that can help, and refuses answers that no chip can give."""

from pathlib import Path
from typing import Any

import pytest
import torch

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip import LayerRecording, Observable, Placement, Stimulus
from ltl_core.default_probe import probe_by_run
from ltl_core.errors import (
    ChipError,
    ChipUnavailableError,
    CodeRangeError,
    NoSideWeightsError,
    SettingError,
)
from service.bench.driver.http_chip import HttpChip, open_http_chip
from service.bench.protocol.verbs import VERBS
from tests.agents import serve_agent
from tests.bare_chip import BareChip
from tests.calls import CODES, IMAGES, LAYER, RECORD
from tests.integration.bench.conftest import ProxiedChip
from tests.proxies import (
    DAMAGES,
    Proxy,
    Tamper,
    byte_by_byte,
    cut_off,
    drive_through,
    in_chunks,
    late,
    refusing,
    with_changes,
    with_nan,
    with_tensor,
    without_reason,
    without_tensor,
)


def test_layers_are_written_in_one_call(chip: HttpChip, proxy: Proxy) -> None:
    asked = proxy.calls
    assert chip.write({"hidden": LAYER})["hidden"].cells == 0
    assert proxy.calls == asked + 1


def test_an_older_agent_is_called_by_the_verbs_that_it_knows(
    shared: ProxiedChip, proxy: Proxy
) -> None:
    del shared  # the network stands there
    proxy.tamper("info", with_changes(lambda fields, _t: fields.pop("verbs")))
    with drive_through(proxy) as chip:
        asked = proxy.calls
        assert chip.write({"hidden": LAYER})["hidden"].cells == 0
        assert proxy.calls == asked + 2
        assert list(dict(chip.iter_layers(IMAGES, RECORD))) == list(RECORD)
        assert proxy.calls == asked + 3


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_answer_is_asked_for_again_and_the_call_is_done_once(
    chip: HttpChip, proxy: Proxy, damage: Tamper
) -> None:
    before = chip.now()
    expected = before + 12 * 5 * chip.info.time_step
    proxy.tamper("run", damage, times=2)
    asked = proxy.calls
    recording = chip.run(IMAGES, RECORD)
    assert proxy.calls == asked + 3
    assert recording.chip_time == pytest.approx(expected, rel=1e-12)
    assert chip.now() == recording.chip_time


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_agent_whose_answers_stay_damaged_is_given_up(
    chip: HttpChip, proxy: Proxy, damage: Tamper
) -> None:
    proxy.tamper("run", damage)
    with pytest.raises(ChipUnavailableError, match="answers of its agent to 'run' break off"):
        chip.run(IMAGES, RECORD)


@pytest.mark.parametrize("verb", ["run", "tell_layers"])
@pytest.mark.parametrize("delay", [late, byte_by_byte])
def test_an_answer_beyond_the_deadline_is_given_up(
    chip: HttpChip, proxy: Proxy, delay: Tamper, verb: str
) -> None:
    assert chip.now() > 0  # the network stands there already
    with drive_through(proxy, answer_s=2.0) as hurried:
        proxy.tamper(verb, delay)
        with pytest.raises(ChipUnavailableError, match=f"did not answer to '{verb}' in time"):
            list(hurried.iter_layers(IMAGES, RECORD)) if verb == "tell_layers" else hurried.run(
                IMAGES, RECORD
            )


def assert_same(expected: torch.Tensor | None, found: torch.Tensor | None) -> None:
    assert expected is not None
    assert found is not None
    assert torch.equal(expected, found)


def test_a_call_that_was_damaged_on_its_way_is_sent_again(chip: HttpChip, proxy: Proxy) -> None:
    asked = proxy.calls
    proxy.tamper("now", refusing("Content-Digest"), times=2)
    assert chip.now() >= 0
    assert proxy.calls == asked + 3


def test_a_refusal_without_a_reason_is_refused(chip: HttpChip, proxy: Proxy) -> None:
    proxy.tamper("now", without_reason)
    with pytest.raises(ChipUnavailableError, match="status 500 comes without a reason"):
        chip.now()


def test_large_calls_and_answers_arrive_whole(tmp_path: Path, placement: Placement) -> None:
    many = Stimulus(torch.rand(10_000, 6, generator=torch.Generator().manual_seed(2)), 12)
    local = make_chip("bench-1", preset("pcm"), 7)
    with serve_agent(tmp_path) as agent, agent.drive() as remote:
        for chip in (local, remote):
            chip.place(placement)
            chip.program("hidden", CODES)
        in_one = dict(local.run(many, RECORD).layers), dict(remote.run(many, RECORD).layers)
        in_frames = dict(local.run(many, RECORD).layers), dict(remote.iter_layers(many, RECORD))
    for expected, found in (in_one, in_frames):
        assert_same(expected["hidden"].spikes, found["hidden"].spikes)
        assert_same(expected["hidden"].window, found["hidden"].window)
        assert_same(expected["readout"].membrane, found["readout"].membrane)


def test_calls_share_one_connection(chip: HttpChip, proxy: Proxy) -> None:
    chip.now()
    connections = proxy.connections
    for _ in range(5):
        chip.now()
    assert proxy.connections == connections
    proxy.tamper("tell_layers", in_chunks)
    for _ in range(3):
        list(chip.iter_layers(IMAGES, RECORD))
    assert proxy.connections == connections
    proxy.tamper("now", cut_off, times=1)
    chip.now()
    assert proxy.connections == connections + 1


def test_an_agent_that_is_gone_is_given_up(tmp_path: Path) -> None:
    with serve_agent(tmp_path, reach_s=0.2) as agent:
        chip = open_http_chip("bench-1", agent.address, 1)
    with pytest.raises(ChipUnavailableError, match="cannot be reached"):
        chip.now()
    chip.close()


def test_a_wrong_secret_is_named_as_the_reason(proxy: Proxy) -> None:
    address = proxy.agent.address.model_copy(update={"secret": "another one"})
    with pytest.raises(ChipUnavailableError, match="refused: it does not accept the secret"):
        open_http_chip("bench-1", address, 1)


def test_no_secret_is_shown_where_an_address_is(proxy: Proxy) -> None:
    assert proxy.agent.address.secret not in repr(proxy.agent.address)


def test_registers_are_set_and_read_back(chip: HttpChip) -> None:
    before = chip.tuning("hidden")
    ranges = before.adc_range - 1
    changed = before._replace(threshold=before.threshold + 1, adc_range=ranges, readout_gain=-3)
    chip.tune("hidden", changed)
    found = chip.tuning("hidden")
    chip.tune("hidden", before)
    assert torch.equal(found.adc_range, changed.adc_range)
    assert found.readout_gain == -3
    assert torch.equal(found.threshold, changed.threshold)


def as_an_older_agent(proxy: Proxy) -> None:
    """It knows one range for a layer, nothing by row of tiles, and no gain of the readout."""

    def without_new_fields(fields: dict[str, Any], _tensors: dict[str, Any]) -> None:
        for name in ("range_by_tile", "readout_gain"):
            del fields["info"]["tuning"][name]

    proxy.tamper("info", with_changes(without_new_fields))
    proxy.tamper("tuning", without_tensor("adc_range"))
    proxy.tamper("clipped", with_changes(lambda _f, tensors: tensors.clear()))


def test_an_older_agent_has_one_range_for_a_layer(chip: HttpChip, proxy: Proxy) -> None:
    before = chip.tuning("hidden")
    chip.tune("hidden", before._replace(adc_range=before.adc_range - 2))
    shares = chip.clipped(IMAGES)
    as_an_older_agent(proxy)
    with drive_through(proxy) as older:
        found = older.tuning("hidden")
        assert torch.equal(found.adc_range, before.adc_range - 2)
        clipped = older.clipped(IMAGES)
        assert clipped["hidden"].shape == (1,)
        torch.testing.assert_close(clipped["hidden"][0], shares["hidden"].mean())
        two = before._replace(adc_range=torch.tensor([0, 1]))
        with pytest.raises(SettingError, match="one range for the whole layer 'hidden'"):
            older.tune("hidden", two)
        with pytest.raises(CodeRangeError, match="readout_gain"):
            older.tune("hidden", before._replace(readout_gain=1))
        older.tune("hidden", before)
    proxy.pass_all_on()
    assert torch.equal(chip.tuning("hidden").adc_range, before.adc_range)


def test_an_older_agent_has_no_side_weights(proxy: Proxy) -> None:
    with drive_through(proxy) as chip, pytest.raises(NoSideWeightsError):
        chip.set_side("hidden", None)  # its chip has none
    proxy.tamper("info", with_changes(lambda fields, _t: fields["info"].update(side_rank=8)))
    asked = proxy.calls
    with drive_through(proxy) as chip, pytest.raises(NoSideWeightsError):
        chip.set_side("hidden", None)  # the agent asks its chip, which refuses
    assert proxy.calls == asked + 2
    proxy.tamper("info", with_changes(lambda fields, _t: fields["verbs"].remove("set_side")))
    with drive_through(proxy) as chip:
        asked = proxy.calls
        with pytest.raises(NoSideWeightsError):
            chip.set_side("hidden", None)
        assert proxy.calls == asked


def test_a_chip_without_a_probe_is_probed_by_its_runs(tmp_path: Path, placement: Placement) -> None:
    own, twin = BareChip("ideal"), BareChip("ideal")
    twin.place(placement)
    twin.program("hidden", CODES)
    with serve_agent(tmp_path, own) as agent, agent.drive() as chip:
        chip.place(placement)
        chip.program("hidden", CODES)
        found, expected = chip.probe().rates, probe_by_run(twin, placement).rates
        torch.testing.assert_close(found, expected)
        assert float(expected["hidden"].max()) > 0.05
        earlier = HttpChip(chip._client, chip.info, list(VERBS))  # a service that knows of none
        with pytest.raises(ChipError, match="no probe of its own"):
            earlier.probe()


def test_a_driver_that_placed_no_network_checks_what_it_can(
    shared: ProxiedChip, proxy: Proxy
) -> None:
    expected = shared.chip.probe()
    with drive_through(proxy) as chip:
        assert chip.probe().rates.keys() == expected.rates.keys()
        found = chip.run(IMAGES, {"hidden": Observable.COUNTS, "readout": Observable.SPIKES})
        assert found.layers["readout"] == LayerRecording()
        proxy.tamper("probe", with_tensor("hidden", with_nan))
        with pytest.raises(ChipUnavailableError, match="'a layer' holds NaN"):
            chip.probe()
        proxy.tamper("run", with_tensor("counts/hidden", lambda t: t[:4]))
        with pytest.raises(ChipUnavailableError, match="counts/hidden"):
            chip.run(IMAGES, {"hidden": Observable.COUNTS})
