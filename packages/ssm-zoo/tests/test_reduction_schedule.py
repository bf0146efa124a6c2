import pytest

from ssm_zoo import OptionError
from ssm_zoo.reduction import At, Every, Plateau, Settled, Warmup, When
from ssm_zoo.reduction.schedule import schedule_of


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


def watched(schedule, steps, see):
    """Return when cuts fell due; `see(step)` returns the loss and the values of that step."""
    found = []
    for step in range(1, steps + 1):
        if schedule.watches(step):
            schedule.see(step, *see(step))
        if schedule.due(step):
            found.append(step)
    return found


def test_settled_waits_until_the_spectrum_keeps_still():
    def see(step):
        return None, {"layer": [1.0, max(0.2, 1 - step / 100), 0.1]}  # moves until step 80

    assert watched(Settled(every=10, tolerance=0.01, looks=2), 200, see) == [101]


def test_settled_makes_as_many_cuts_as_it_was_asked_for():
    assert watched(Settled(every=10, looks=1, cuts=2), 200, lambda _: (None, {"layer": [1.0, 0.5]})) == [21, 41]


def test_settled_does_not_confuse_a_layer_that_has_shrunk():
    def see(step):
        return None, {"layer": [1.0] * (8 if step <= 20 else 4)}

    assert watched(Settled(every=10, looks=1, cuts=2), 100, see) == [21, 41]


def test_plateau_waits_until_the_loss_stops_falling():
    assert watched(Plateau(every=10, patience=2), 200, lambda step: (max(0.5, 1 - step / 100), {})) == [71]


def test_plateau_says_that_it_wants_the_loss():
    with pytest.raises(OptionError, match="wants the loss"):
        watched(Plateau(every=1), 1, lambda _: (None, {}))


def test_what_a_schedule_has_seen_is_its_state():
    def see(step):
        return max(0.5, 1 - step / 100), {"layer": [1.0, max(0.2, 1 - step / 100)]}

    for make in (lambda: Settled(every=10, tolerance=0.01), lambda: Plateau(every=10)):
        whole = watched(make(), 200, see)
        first, second = make(), make()
        found = watched(first, 65, see)
        second.load_state_dict(first.state_dict())
        for step in range(66, 201):
            if second.watches(step):
                second.see(step, *see(step))
            if second.due(step):
                found.append(step)

        assert found == whole != []


def test_a_function_of_the_step_is_a_schedule():
    assert due(schedule_of(lambda step: step in (2, 5)), 10) == [2, 5]
    assert due(When(lambda step: step == 3), 10) == [3]


@pytest.mark.parametrize(
    "make",
    [lambda: Settled(every=0), lambda: Settled(tolerance=0), lambda: Plateau(patience=0), lambda: Plateau(least=1.0)],
)
def test_watching_schedules_refuse_bad_options(make):
    with pytest.raises(OptionError):
        make()
