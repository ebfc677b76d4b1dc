"""The seconds of stages, followed step by step and over attempts."""

from ltl_core.packing import pack
from ltl_core.progress import Phase
from service.jobs.kinds.stage_clock import StageClock


def test_a_stage_begins_where_the_step_before_it_ended() -> None:
    clock = StageClock(1.0)
    clock.follow(0, Phase.BEFORE, 3.0)
    clock.follow(1, Phase.TUNING, 4.0)
    clock.follow(2, Phase.CALIBRATING, 6.0)
    clock.follow(2, Phase.CALIBRATING, 7.5)
    clock.follow(2, Phase.VERIFYING, 9.0)
    assert clock.seconds(2) == [1.0, 3.5]


def test_the_seconds_of_an_attempt_before_are_counted() -> None:
    first = StageClock(0.0)
    first.follow(1, Phase.TUNING, 2.0)
    first.follow(2, Phase.CALIBRATING, 5.0)
    second = StageClock.from_block(pack({}, first.metadata()), 10.0)
    second.follow(2, Phase.CALIBRATING, 11.0)
    assert second.seconds(2) == [2.0, 9.0]


def test_stages_of_an_earlier_checkpoint_have_no_seconds() -> None:
    clock = StageClock.from_block(pack({}, {"job_id": "job-1"}), 10.0)
    clock.follow(2, Phase.CALIBRATING, 11.0)
    assert clock.seconds(3) == [None] * 3
