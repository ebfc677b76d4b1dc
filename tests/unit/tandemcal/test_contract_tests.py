"""`tandemcal.testing`: the driver is found by its name, and named where it raises."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tandemcal.testing
from tandemcal.testing.driver import Driver

SOURCE = """
class Chip:
    def __init__(self, chip_id, settings):
        self.port = settings.get("port")

    def now(self):
        return 1 / 0
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A driver whose clock is broken."""
    (tmp_path / "broken_lab_driver.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_lab_driver", raising=False)
    return Driver("broken_lab_driver:Chip", '{"port": "/dev/ttyUSB0"}')


def raised(call: Callable[[], object]) -> Exception:
    with pytest.raises(Exception, match=r".") as caught:
        call()
    return caught.value


def test_the_factory_is_called_with_the_settings(driver: Driver) -> None:
    assert vars(driver.make()) == {"port": "/dev/ttyUSB0"}


def test_an_error_of_the_driver_names_it_with_file_and_line(driver: Driver, tmp_path: Path) -> None:
    error = raised(driver.make().now)
    driver.name_in(error)
    line = SOURCE.splitlines().index("        return 1 / 0") + 1
    place = f"Chip.now, {tmp_path / 'broken_lab_driver.py'}:{line}"
    assert error.__notes__ == [f"Raised in the driver broken_lab_driver:Chip: {place}"]


def test_an_error_of_the_tests_names_no_driver(driver: Driver) -> None:
    error = raised(lambda: int("no number"))
    driver.name_in(error)
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        (None, "{}", "need a driver: name one with --chip MODULE:FACTORY"),
        ("my_lab.driver", "{}", "'my_lab.driver' names no driver: name one with --chip"),
        ("no_such_lab:make", "{}", "'no_such_lab:make' cannot be imported: ModuleNotFoundError"),
        ("pathlib:make_chip", "{}", "cannot be imported: AttributeError"),
        ("pathlib:Path", "port=1", "--chip-settings is not JSON"),
        ("pathlib:Path", "[1]", "--chip-settings takes a JSON object"),
    ],
)
def test_what_cannot_be_used_is_a_usage_error(
    name: str | None, settings: str, sentence: str
) -> None:
    with pytest.raises(pytest.UsageError, match=sentence):
        Driver(name, settings)


def test_this_repository_runs_every_contract_test_against_its_own_chips() -> None:
    theirs = Path(str(tandemcal.testing.__file__)).parent.glob("test_*.py")
    ours = (Path(__file__).parents[2] / "contract").glob("test_*.py")
    assert sorted(path.name for path in ours) == sorted(path.name for path in theirs)
