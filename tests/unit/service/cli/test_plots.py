"""`tandemcal chip plot` writes plots of a chip model."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli.main import app
from service.cli.plots import chosen_spec

pytest.importorskip("matplotlib")
PNG = b"\x89PNG"


def test_a_chip_of_ones_own_is_drawn(tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text("{base: pcm, tile_rows: 16, tile_columns: 16, device: {g_max: 20 uS}}")
    done = CliRunner().invoke(app, ["chip", "plot", str(spec), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    drawn = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert drawn == ["mine-columns.png", "mine-conductance.png", "mine-weight-error.png"]
    assert all((tmp_path / "out" / name).read_bytes().startswith(PNG) for name in drawn)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{device: {g_maks: 1}}", "no key 'device.g_maks'"),
        ("{device: {g_min: 30 uS}}", "is not below g_max"),
    ],
)
def test_a_wrong_spec_gives_a_message(tmp_path: Path, content: str, says: str) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text(content)
    done = CliRunner().invoke(app, ["chip", "plot", str(spec), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert says in done.output
    assert not (tmp_path / "out").exists()


def test_a_chip_of_the_paper_has_its_strength_behind_its_name() -> None:
    assert chosen_spec("paper-mismatch-0.3").paper.mismatch == 0.3


def test_an_unknown_chip_lists_the_known_ones() -> None:
    done = CliRunner().invoke(app, ["chip", "plot", "best"])
    assert done.exit_code == 1
    assert "ideal, pcm, hermes, reram, harsh" in done.output
