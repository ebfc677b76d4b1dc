"""A periodic task runs when its interval is over, and not sooner after an error."""

import pytest

from service.jobs.periodic import PeriodicTask


def test_a_task_runs_once_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, done = [100.0], list[float]()
    monkeypatch.setattr("service.jobs.periodic.time.monotonic", lambda: clock[0])
    task = PeriodicTask(lambda: done.append(clock[0]), 15.0)
    for clock[0] in (100.0, 114.0, 116.0, 130.0, 132.0):
        task.run_if_due()
    assert done == [116.0, 132.0]


def test_a_task_that_failed_is_tried_again_an_interval_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, tried = [0.0], list[float]()
    monkeypatch.setattr("service.jobs.periodic.time.monotonic", lambda: clock[0])

    def do() -> None:
        tried.append(clock[0])
        if len(tried) == 1:
            raise ConnectionError

    task = PeriodicTask(do, 15.0)
    clock[0] = 15.0
    with pytest.raises(ConnectionError):
        task.run_if_due()
    for clock[0] in (16.0, 29.0, 30.0, 31.0):
        task.run_if_due()
    assert tried == [15.0, 30.0]
