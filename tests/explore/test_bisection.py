import math

from hypothesis import given
from hypothesis import strategies as st

from csbrnn.explore.bisection import Bisection


@given(st.integers(0, 60), st.data())
def test_it_finds_the_border_in_few_trials(count, data):
    values = [f"value {k}" for k in range(count)]
    border = data.draw(st.integers(0, count))
    known = {}
    while (value := Bisection(values, known).next) is not None:
        assert value not in known
        known[value] = values.index(value) < border
    row = Bisection(values, known)
    assert row.dropped == tuple(values[border:])
    assert row.held == (values[border - 1] if border else None)
    assert len(known) <= (1 if border == count else 2 + math.log2(max(count, 1)))


@given(st.lists(st.booleans(), max_size=12))
def test_answers_that_contradict_each_other_end_all_the_same(answers):
    values, known = list(range(len(answers))), {}
    while (value := Bisection(values, known).next) is not None:
        known[value] = answers[value]
        assert len(known) <= len(values)
    held = Bisection(values, known).held
    assert held is None or known[held]
    assert all(not known[v] for v in known if v in Bisection(values, known).dropped[:1])
