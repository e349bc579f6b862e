import numpy as np
import pytest

from csbrnn.accelerator import compile_model
from csbrnn.accelerator.energy import SOURCE, estimate_energy

from .models import ARCH, cell_model


def test_energy_counts_words_and_says_where_it_comes_from():
    rng = np.random.default_rng(0)
    image = compile_model(cell_model(rng, "lstm", hidden=12), ARCH).image
    energy = estimate_energy(image)
    # A word: two products of 16 x 16 bits (0.8 pJ each) and two sums of 36 bits (0.1125 pJ).
    words = image.segment_words.sum()
    assert energy.multiply_add == pytest.approx(words * 2 * (0.8 + 0.1125) / 1000)
    assert energy.to_dict()["total_nj"] == pytest.approx(energy.total)
    assert energy.to_dict()["label"] == SOURCE
    assert SOURCE.startswith("modelled")
    assert min(energy.words, energy.x, energy.y, energy.vector) > 0


def test_all_of_a_steps_vector_operations_are_counted_once():
    rng = np.random.default_rng(0)
    one = estimate_energy(compile_model(cell_model(rng, "lstm", hidden=12), ARCH).image)
    two = estimate_energy(compile_model(cell_model(rng, "lstm", hidden=12, layers=2), ARCH).image)
    assert two.vector == pytest.approx(2 * one.vector)
