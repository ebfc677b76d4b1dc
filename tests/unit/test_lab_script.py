"""What the demonstration accepts: chips near the student in the mean, the harsh one recovered."""

from examples.lab_script import Row, complaints_about

GOOD = Row(
    chip="bench-pcm",
    teacher=0.99,
    golden=0.98,
    before=0.93,
    after=0.97,
    recovered=0.8,
    out_of_the_box=True,
    samples=8000,
    cells_written=1,
    pulses=1,
    seconds=1.0,
)


def mild(*lacking: float) -> list[Row]:
    chips = ("bench-pcm", "bench-hermes", "bench-reram")
    return [
        GOOD._replace(chip=chip, after=GOOD.golden - points)
        for chip, points in zip(chips, lacking, strict=True)
    ]


def test_the_mean_of_the_mild_chips_is_judged() -> None:
    assert complaints_about(mild(0.03, 0.01, 0.01)) == []
    (complaint,) = complaints_about(mild(0.03, 0.03, 0.01))
    assert "3 chips is 2.3 points below the golden student; 2.0 are allowed" in complaint


def test_a_chip_that_became_worse_is_named() -> None:
    (complaint,) = complaints_about([GOOD, GOOD._replace(chip="bench-reram", after=0.90)])[:1]
    assert complaint.startswith("bench-reram was not recovered: its accuracy is 8.0 points below")


def test_the_harsh_chip_gets_back_four_fifths_of_what_it_lost() -> None:
    harsh = GOOD._replace(chip="bench-harsh", before=0.4)
    assert complaints_about([harsh]) == []
    assert len(complaints_about([harsh._replace(recovered=0.79)])) == 1
