"""What of a matrix is stored, from a product of a step."""

import numpy as np

from csbrnn.accelerator import fixed_step
from csbrnn.formats import CSBMatrix
from csbrnn.model import Features, Linear, PackedModel

from .models import ARCH, random_matrix


def test_kernels_are_what_the_format_stores():
    rng = np.random.default_rng(0)
    matrix = random_matrix(rng, 13, 17, block=(4, 5))
    assert isinstance(matrix, CSBMatrix)
    model = PackedModel((Linear("l", ("input",), matrix),), Features(17), "l")
    step = fixed_step(model, ARCH)
    (product,) = step.stages[0].products
    mask = np.zeros((13, 17), bool)
    for kernel in product.kernels():
        assert not mask[np.ix_(kernel.rows, kernel.cols)].any()
        mask[np.ix_(kernel.rows, kernel.cols)] = True
        assert kernel.window <= kernel.cols[0] < kernel.window + 5
    assert mask.sum() == matrix.kept == step.kept
    assert not product.weights[~mask].any()
