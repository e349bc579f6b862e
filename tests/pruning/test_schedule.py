from csbrnn.pruning.schedule import CubicSchedule


def test_density_falls_as_a_cubic():
    schedule = CubicSchedule(begin=10, end=30, frequency=5)
    assert [schedule.relaxation(step) for step in (0, 10, 20, 30, 99)] == [1, 1, 0.125, 0, 0]


def test_prunes_at_multiples_and_at_the_end_then_no_more():
    schedule = CubicSchedule(begin=2, end=9, frequency=3)
    assert [step for step in range(20) if schedule.is_due(step)] == [2, 5, 8, 9]


def test_one_step():
    schedule = CubicSchedule(begin=0, end=0, frequency=7)
    assert schedule.is_due(0)
    assert schedule.relaxation(0) == 0
