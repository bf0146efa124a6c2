import pytest

from ssm_zoo import OptionError
from ssm_zoo.reduction import At, Every, Warmup


def due(schedule, steps):
    return [step for step in range(1, steps + 1) if schedule.due(step)]


def test_warmup_spreads_its_cuts_over_the_first_part_of_the_run():
    assert due(Warmup(1000, fraction=0.1, cuts=4), 1000) == [25, 50, 75, 100]


def test_warmup_makes_every_cut_even_where_steps_do_not_divide():
    assert len(due(Warmup(97, fraction=0.5, cuts=7), 97)) == 7


def test_every_keeps_to_its_range():
    assert due(Every(10, start=15, stop=40), 100) == [20, 30, 40]


def test_at_names_its_steps():
    assert due(At(3, 8), 10) == [3, 8]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Warmup(100, fraction=0.0),
        lambda: Warmup(100, fraction=1.5),
        lambda: Warmup(100, cuts=0),
        lambda: Warmup(100, fraction=0.01, cuts=4),
        lambda: Every(0),
        lambda: Every(5, start=9, stop=8),
        lambda: At(),
        lambda: At(0),
    ],
)
def test_a_schedule_that_could_never_be_meant_is_refused(make):
    with pytest.raises(OptionError, match="want"):
        make()
