"""What is promised of every registered kind of job, whatever it does."""

import pytest

from service.jobs.errors import UnknownJobKindError
from service.jobs.kinds.registry import KINDS

NAMES = [name.value for name in KINDS.names()]


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_stands_in_the_file_of_its_name_and_its_body_names_it(name: str) -> None:
    kind = KINDS[name]
    assert kind.work.__module__ == f"service.jobs.kinds.{name}"
    assert kind.request.model_fields["kind"].annotation.__args__ == (name,)  # type: ignore[union-attr]
    assert kind.needs_chip == ("chip_id" in kind.request.model_fields)


def test_a_kind_that_is_added_leaves_the_others_as_they_are() -> None:
    added = KINDS.adding(KINDS["probe"]._replace(name="made-up"))
    assert [name.value for name in added.names()] == [*NAMES, "made-up"]
    assert [name.value for name in KINDS.names()] == NAMES
    with pytest.raises(UnknownJobKindError):
        KINDS["made-up"]
