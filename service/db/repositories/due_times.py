"""When a policy makes its chip due."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from service.daily_times import DailyTimes, daily_times
from service.db.upkeep_tables import Policy

PROBE, CALIBRATE = "probe", "calibrate"  # the two kinds of job that a policy asks for
_LONGEST_S = 100 * 365.25 * 86_400  # of a span: more of them in a row stay within the calendar
_LAST = datetime(9000, 1, 1, tzinfo=UTC)
_NEWS = 1.5  # times the age: drift is logarithmic, so a look at nearly the same age tells nothing


class VersionLife(NamedTuple):
    """What is known of the weights in force on a chip."""

    published_at: datetime
    probed_at: datetime | None  # last time, since publication
    has_validity: bool  # versions of earlier releases have none before their next probe
    valid_until: datetime | None  # None where no end is in sight


def times_of(policy: Policy) -> DailyTimes:
    """Return the times of day at which the policy lets jobs begin."""
    return daily_times(policy.quiet_hours, policy.fixed_times)


def later(at: datetime, seconds: float) -> datetime:
    """Return the time so many seconds after `at`; a span counts for at most 100 years."""
    return min(at, _LAST) + timedelta(seconds=min(seconds, _LONGEST_S))


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
    due = now if last is None else later(last, policy.probe_every_s)
    return times_of(policy).first_from(due)


def next_calibration(policy: Policy, score: float | None, now: datetime) -> datetime | None:
    """Return when the next calibration is due, or None if no rule asks for one.

    The earliest rule counts, but not before the pause since the last calibration is over.
    """
    reasons = list(_reasons(policy, score, now))
    if not reasons:
        return None
    first = min(reasons)
    if policy.calibrated_at is not None:
        first = max(first, later(policy.calibrated_at, policy.pause_s))
    first = times_of(policy).first_from(first)
    return first if policy.calibrate_due_at is None else min(first, policy.calibrate_due_at)


def next_expiry(policy: Policy, life: VersionLife | None, now: datetime) -> datetime | None:
    """Return when to act so that the weights in force stay valid; None if nothing has to be done.

    It is the last time of day that the policy leaves open before the validity ends, but now where
    that has passed, and not before the pause since the last calibration is over. A calibration that
    published nothing is not repeated before the version is half as old again.
    """
    if not policy.calibrate_before_expiry or life is None:
        return None
    if not life.has_validity:  # the first probe finds it
        return times_of(policy).first_from(now)
    if life.valid_until is None:
        return None
    due = max(times_of(policy).last_until(life.valid_until), now)
    if policy.calibrated_at is not None:
        age = policy.calibrated_at - life.published_at
        pause = max(policy.pause_s, (_NEWS - 1) * age.total_seconds())
        due = max(due, later(policy.calibrated_at, pause))
    return times_of(policy).first_from(due)


def is_probe_enough(life: VersionLife, now: datetime) -> bool:
    """Tell whether a probe comes first: it may show that the weights in force hold for longer."""
    if life.probed_at is None:
        return True
    return now - life.published_at > _NEWS * (life.probed_at - life.published_at)


def set_due_at(policy: Policy) -> None:
    """Set `due_at`, the time that the planner reads, to the earliest of the due times."""
    due = (policy.probe_due_at, policy.calibrate_due_at, policy.expiry_due_at)
    times = [at for at in due if at is not None]
    policy.due_at = min(times) if times and policy.enabled else None


def _reasons(policy: Policy, score: float | None, now: datetime) -> Iterable[datetime]:
    if policy.calibrate_every_s is not None:
        age = policy.calibrate_every_s
        yield now if policy.calibrated_at is None else later(policy.calibrated_at, age)
    at_score, after_jobs = policy.calibrate_at_score, policy.calibrate_after_jobs
    if at_score is not None and score is not None and score >= at_score:
        yield now
    if after_jobs is not None and policy.jobs >= after_jobs:
        yield now
