"""The version in force on a chip: its fingerprint, and how long it is valid."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from service.db.repositories.chip_history import StudentName
from service.db.tables import Chip, WeightVersion
from service.formatting import amount, percent, plural
from service.web.chip.history import figure_in
from service.web.durations import about

_TEN_YEARS = 315_576_000.0  # s; an age that stands for no end in sight


class VersionFacts(NamedTuple):
    """What the page says of the version in force."""

    number: int
    job_id: str
    student_id: str
    student: str  # empty where it has been deleted
    published_at: datetime
    valid_until: datetime | None
    facts: tuple[tuple[str, str], ...]
    sha256: str


def version_facts(version: WeightVersion, chip: Chip, student: StudentName | None) -> VersionFacts:
    """Put a version into words."""
    accuracy = version.accuracy
    before, after, golden = (
        percent(figure_in(accuracy, name)) for name in ("before", "after", "golden")
    )
    facts = [
        ("Accuracy at publication", f"{after}, {before} before"),
        ("Golden student", golden),
        ("Corrected by", f"{version.rule}, from {version.observable}"),
        ("Fingerprint", fingerprint_text(version.fingerprint)),
        ("Validity", validity_text(chip.validity)),
    ]
    if version.temperature_kelvin is not None:
        facts.append(("Temperature then", f"{version.temperature_kelvin:.1f} K"))
    return VersionFacts(
        version.version,
        version.job_id,
        version.student_id,
        f"{student.teacher}, {student.rule}" if student else "",
        version.created_at,
        None if _is_endless(chip.validity) else chip.valid_until,
        tuple(facts),
        version.sha256,
    )


def fingerprint_text(fingerprint: Mapping[str, Any] | None) -> str:
    """Say what a fingerprint is of: how many probes, columns and layers, and when by the chip."""
    if not fingerprint:
        return "none: probes have nothing to compare with"
    rates: Mapping[str, Any] = fingerprint["rates"]
    columns = sum(len(of) for of in rates.values())
    probes = plural(int(fingerprint.get("probes", 1)), "probe")
    layers = plural(len(rates), "layer")
    return f"{probes} of {amount(columns)} columns in {layers}"


def validity_text(validity: Mapping[str, Any] | None) -> str:
    """Say at which age of the weights a point of accuracy is predicted to be lost."""
    age, low, high = (figure_in(validity, name) for name in ("age_s", "low_s", "high_s"))
    if age is None or low is None or high is None:
        return "not known yet"
    if _is_endless(validity):
        return "no end in sight"
    until = "no end" if high >= _TEN_YEARS else about(high)
    middle = "10 years or more" if age >= _TEN_YEARS else about(age)
    return f"a point is lost at an age of {middle} ({about(low)} to {until}) of the chip's clock"


def _is_endless(validity: Mapping[str, Any] | None) -> bool:
    low = figure_in(validity, "low_s")
    return low is not None and low >= _TEN_YEARS
