"""The spec of a chip from a file."""

import json
from pathlib import Path

import pytest

from chip_sim.errors import SpecFileError, UnknownPresetError, UnknownSpecKeyError
from chip_sim.presets import NAMES, PAPER, preset
from chip_sim.spec_file import find_spec, load_spec, read_spec

YAML = Path("mine.yaml")


@pytest.mark.parametrize("name", [*NAMES, *PAPER])
def test_every_named_chip_survives_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "chip.json"
    path.write_text(preset(name).model_dump_json())
    assert load_spec(path) == preset(name)


@pytest.mark.parametrize(
    ("text", "g_max"),
    [
        ("25 uS", 25e-6),
        ("25uS", 25e-6),
        ("25 µS", 25e-6),
        ("0.025 mS", 25e-6),
        ("25e-6 S", 25e-6),
        ("25e-6", 25e-6),
        ("2.5e-5", 25e-6),
        ("40000 nS", 40e-6),
    ],
)
def test_units_are_read(text: str, g_max: float) -> None:
    spec = read_spec(f"device: {{model: pcm, g_max: {text}}}", YAML)
    assert spec.device.g_max == pytest.approx(g_max, rel=1e-12)


def test_times_fractions_and_steps_have_units_too() -> None:
    spec = read_spec(
        "{time_step: 10 us, device: {stuck: 0.5 %, drift_activation_ev: 200 meV},"
        " converter: {offset_sd_lsb: 2 LSB}, write: {tolerance_siemens: 1 uS, pulses_max: 9}}",
        YAML,
    )
    assert spec.time_step == pytest.approx(1e-5)
    assert spec.device.stuck == pytest.approx(0.005)
    assert spec.device.drift_activation_ev == pytest.approx(0.2)
    assert spec.converter.offset_sd_lsb == 2
    assert spec.write.tolerance_siemens == pytest.approx(1e-6)


def test_a_file_may_begin_with_a_named_chip() -> None:
    spec = read_spec("{base: hermes, device: {variation: 0.2}}", YAML)
    hermes = preset("hermes")
    device = hermes.device.model_copy(update={"variation": 0.2})
    assert spec == hermes.model_copy(update={"model": "mine", "device": device})


def test_a_strength_behind_a_name_is_not_the_ending_of_a_file(tmp_path: Path) -> None:
    assert find_spec("paper-mismatch-0.3") == preset("paper-mismatch-0.3")
    assert find_spec("pcm") == preset("pcm")
    path = tmp_path / "mine.yaml"
    path.write_text("base: pcm")
    assert find_spec(str(path)).model == "mine"
    with pytest.raises(FileNotFoundError):
        find_spec(str(tmp_path / "paper-mismatch-0.3"))


def test_a_file_may_give_a_non_ideality_of_the_paper_its_strength() -> None:
    spec = read_spec("{base: paper-mismatch, model: x, paper: {mismatch: 30 %}}", YAML)
    assert spec == preset("paper-mismatch-0.3").model_copy(update={"model": "x"})


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("{device: {g_maxx: 1}}", "device.g_maxx", "g_max"),
        ("{divice: {}}", "divice", "device"),
        ("{neuron: {zzz: 1}}", "neuron.zzz", None),
    ],
)
def test_an_unknown_key_is_named(text: str, key: str, nearest: str | None) -> None:
    with pytest.raises(UnknownSpecKeyError, match=key) as caught:
        read_spec(text, YAML)
    assert (caught.value.key, caught.value.nearest) == (key, nearest)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{device: {g_min: 30 uS, g_max: 25 uS}}", "device: g_min 3e-05 S is not below g_max"),
        ("{device: {g_max: 25 us}}", "device.g_max: '25 us' is not in S"),
        ("{device: {g_max: lots}}", "is not a number with a unit"),
        ("{tile_rows: 0}", "tile_rows: Input should be greater than or equal to 1"),
        ("{time_step: -1 s}", "time_step: Input should be greater than 0"),
        ("{device: {model: flash}}", "device.model"),
        ("{weight_bits: 40}", "weight_bits"),
        ("[1, 2]", "a table of keys"),
        ("{device: [", "mine.yaml"),
    ],
)
def test_a_wrong_value_is_named_and_says_what_would_do(text: str, says: str) -> None:
    with pytest.raises(SpecFileError) as caught:
        read_spec(text, YAML)
    assert says in str(caught.value)


def test_an_unknown_base_lists_the_known_ones() -> None:
    with pytest.raises(UnknownPresetError, match="ideal, pcm"):
        read_spec("{base: best}", YAML)


@pytest.mark.parametrize("name", ["chip.toml", "chip"])
def test_another_kind_of_file_is_refused(name: str) -> None:
    with pytest.raises(SpecFileError, match="yaml"):
        read_spec("", Path(name))


def test_broken_json_says_where() -> None:
    with pytest.raises(SpecFileError, match="line 2"):
        read_spec(json.dumps({"a": 1})[:-1] + ",\n", Path("x.json"))
