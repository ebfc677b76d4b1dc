"""When a policy makes its chip due."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from service.db.upkeep_tables import Policy

PROBE, CALIBRATE = "probe", "calibrate"  # the two kinds of job that a policy asks for


def count_job(policy: Policy, kind: str, now: datetime) -> None:
    """Count a job that ended: a calibration restarts the count, a probe does not count."""
    if kind == CALIBRATE:
        policy.jobs, policy.calibrated_at = 0, now
        policy.calibrate_due_at = None
    elif kind != PROBE:
        policy.jobs += 1


def next_probe(policy: Policy, last: datetime | None, now: datetime) -> datetime | None:
    """Return when the next probe is due: now if there was none; None if none is planned."""
    if policy.probe_every_s is None:
        return None
    return now if last is None else last + timedelta(seconds=policy.probe_every_s)


def next_calibration(policy: Policy, score: float | None, now: datetime) -> datetime | None:
    """Return when the next calibration is due, or None if no rule asks for one.

    The earliest rule counts, but not before the pause since the last calibration is over.
    """
    reasons = list(_reasons(policy, score, now))
    if not reasons:
        return None
    first = min(reasons)
    if policy.calibrated_at is not None:
        first = max(first, policy.calibrated_at + timedelta(seconds=policy.pause_s))
    return first if policy.calibrate_due_at is None else min(first, policy.calibrate_due_at)


def set_due_at(policy: Policy) -> None:
    """Set `due_at`, the time that the planner reads, to the earlier of both due times."""
    times = [at for at in (policy.probe_due_at, policy.calibrate_due_at) if at is not None]
    policy.due_at = min(times) if times and policy.enabled else None


def _reasons(policy: Policy, score: float | None, now: datetime) -> Iterable[datetime]:
    if policy.calibrate_every_s is not None:
        age = timedelta(seconds=policy.calibrate_every_s)
        yield now if policy.calibrated_at is None else policy.calibrated_at + age
    at_score, after_jobs = policy.calibrate_at_score, policy.calibrate_after_jobs
    if at_score is not None and score is not None and score >= at_score:
        yield now
    if after_jobs is not None and policy.jobs >= after_jobs:
        yield now
