"""The kinds of job that the service knows: one line each."""

import functools
import operator
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, Field

from service.jobs.errors import UnknownJobKindError
from service.jobs.kinds import calibrate, collect, evaluate, probe, train, tune
from service.jobs.kinds.spec import JobKindSpec


class JobKinds:
    """Kinds of job by name, in the order in which the API publishes them."""

    def __init__(self, *kinds: JobKindSpec) -> None:
        self._kinds = {kind.name: kind for kind in kinds}

    def __getitem__(self, name: str) -> JobKindSpec:
        """Return the kind of this name. Raises UnknownJobKindError."""
        if name not in self:
            raise UnknownJobKindError(name)
        return self._kinds[name]

    def __contains__(self, name: object) -> bool:
        """Return whether a kind has this name."""
        return name in self._kinds

    def __iter__(self) -> Iterator[str]:
        """Yield the names of all kinds."""
        return iter(self._kinds)

    def adding(self, kind: JobKindSpec) -> "JobKinds":
        """Return these kinds and one more."""
        return JobKinds(*self._kinds.values(), kind)

    def loads(self) -> list[str]:
        """Return the modules that the fork server loads, so that no child has to."""
        kinds = self._kinds.values()
        return sorted({name for kind in kinds for name in (kind.work.__module__, *kind.loads)})

    def names(self) -> type[StrEnum]:
        """Make the closed set of names that the API publishes."""
        return StrEnum("JobKind", {name.upper(): name for name in self._kinds})  # type: ignore[return-value]

    def settings(self) -> list[type[BaseModel]]:
        """Return the models of settings, of the kinds that have any."""
        fields = (kind.request.model_fields.get("settings") for kind in self._kinds.values())
        models = (field.annotation for field in fields if field)
        return [one for one in models if isinstance(one, type) and issubclass(one, BaseModel)]

    def bodies(self) -> Any:
        """Make the type of the bodies that POST /v1/jobs accepts, told apart by `kind`."""
        accepted = [kind.request for kind in self._kinds.values() if kind.accepted]
        return Annotated[functools.reduce(operator.or_, accepted), Field(discriminator="kind")]


KINDS = JobKinds(
    collect.KIND,
    train.KIND,
    tune.KIND,
    calibrate.KIND,
    evaluate.KIND,
    probe.KIND,
)
