"""The deprecation rule: a name goes on working, and says what replaces it and until when."""

import inspect
import sys
import warnings
from types import ModuleType

import pytest

from ltl_core import deprecation
from ltl_core.deprecation import warn_deprecated
from service.client.tensors import Samples
from tandemcal.lazy import Renamed, lazy_names

MODULES = {"service.client.tensors": ("Samples",), "no_such_package.module": ("Absent",)}
RENAMED = {"SampleSet": Renamed("Samples", "0.3.0")}


@pytest.fixture(autouse=True)
def _unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the type checks of tests, whose frames would be taken for the caller's."""
    monkeypatch.setattr(deprecation, "warn_deprecated", inspect.unwrap(warn_deprecated))


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package with a name, a renamed one, and one whose module is missing."""
    module = ModuleType("lab")
    module.__getattr__ = lazy_names("lab", MODULES, RENAMED)  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lab", module)
    return module


def test_a_renamed_name_works_and_names_what_replaces_it(lab: ModuleType) -> None:
    sentence = (
        r"lab\.SampleSet is deprecated and will be removed in Tandemcal 0\.3\.0; use lab\.Samples\."
    )
    with pytest.warns(DeprecationWarning, match=sentence) as caught:
        assert lab.SampleSet is Samples
    assert [warning.filename for warning in caught] == [__file__]


def test_other_names_do_not_warn(lab: ModuleType) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lab.Samples is Samples


def test_a_function_warns_at_the_line_that_calls_it() -> None:
    def old() -> None:
        deprecation.warn_deprecated("lab.old()", instead="lab.new()", removed_in="0.3.0")

    with pytest.warns(DeprecationWarning, match=r"lab\.old.*0\.3\.0; use lab\.new") as caught:
        old()
    assert caught[0].filename == __file__
    assert caught[0].lineno == sys._getframe().f_lineno - 2


def test_an_unknown_name_is_an_attribute_error(lab: ModuleType) -> None:
    with pytest.raises(AttributeError, match="'lab' has no attribute 'Sample'"):
        _ = lab.Sample


def test_a_missing_package_is_named_with_the_extra_that_brings_it(lab: ModuleType) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"lab\.Absent needs.*tandemcal\[core\]"):
        _ = lab.Absent
