import dataclasses
import json

import numpy as np
import pytest
import torch

from csbrnn.errors import RecipeError
from csbrnn.numerics import INT8
from csbrnn.patterns import CSB, Unstructured
from csbrnn.pruning import ADMM, Distillation, Gradual, OneShot, Recipe, prune_
from csbrnn.pruning.recipe import METHODS

from .test_methods import Averaging

FULL = Recipe(
    CSB((16, None), row_group=16),
    pruning_rate=8,
    method=ADMM(300, 200, rho=3e-5),
    scope="gate",
    include=("encoder.*", "decoder.*"),
    exclude=("*_ih_*",),
    linear=True,
    densities={"encoder.*": 0.5},
    patterns={"decoder.*": "unstructured"},
    distill=Distillation(0.3, temperature=2.0),
    precision=INT8,
    quantize_from=350,
    keep_fp32=("head.*",),
)


def test_rate_is_the_inverse_of_density():
    assert FULL.density == 0.125
    assert Recipe(CSB(), 0.25, OneShot()).pruning_rate == 4


def test_patterns_may_be_text():
    recipe = Recipe("csb(block=4x4)", 0.5, OneShot(), patterns={"a": "unstructured"})
    assert (recipe.pattern, recipe.patterns) == (CSB((4, 4)), {"a": Unstructured()})


@pytest.mark.parametrize("recipe", [FULL, Recipe(CSB(), 1.0, Gradual(10, 90, 5))])
def test_plain_data_round_trip(recipe):
    data = json.loads(json.dumps(recipe.to_dict()))
    assert Recipe.from_dict(data) == recipe
    assert hash(Recipe.from_dict(data)) == hash(recipe)


def test_numbers_of_numpy_are_numbers():
    plan = Recipe(
        CSB((np.int64(4), np.int64(8)), np.int32(2)),
        pruning_rate=np.int64(8),
        method=ADMM(np.int32(5), np.int64(5), interval=np.int64(1), rho=np.float32(0.5)),
        densities={"a": np.float32(0.5)},
    )
    assert plan == Recipe.from_dict(json.loads(json.dumps(plan.to_dict())))
    with pytest.raises(RecipeError, match="at least 1, not True"):
        Recipe("unstructured", pruning_rate=True, method=OneShot())


def test_what_a_toml_file_holds():
    recipe = Recipe.from_dict(
        {
            "pattern": {"name": "csb", "block": [16, "all"], "row_group": 16},
            "pruning_rate": 8,
            "method": {"name": "gradual", "begin": 0, "end": 100},
            "distill": {"weight": 0.25},
        }
    )
    assert recipe == Recipe(CSB((16, None), 16), 0.125, Gradual(0, 100), distill=Distillation(0.25))


def test_when_rounding_begins():
    assert FULL.precision == "int8"
    assert FULL.rounds_from == 350
    assert dataclasses.replace(FULL, quantize_from=None).rounds_from == 300
    plain = Recipe(CSB(), 0.5, Gradual(10, 90))
    assert plain.rounds_from is None
    assert dataclasses.replace(plain, precision="bf16").rounds_from == 90
    # Checkpoints written before there were precisions go on.
    assert not {"precision", "quantize_from", "keep_fp32"} & set(plain.to_dict())
    Recipe(Averaging(), 0.5, ADMM(20, 2), precision="bf16")


def test_recipes_are_frozen_and_can_be_replaced():
    assert dataclasses.replace(FULL, density=0.5).pruning_rate == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.density = 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"density": None}, "exactly one of density and pruning_rate must be given, not neither"),
        ({"pruning_rate": 8}, "not density=0.5, pruning_rate=8"),
        ({"density": None, "pruning_rate": 0.125}, "pruning_rate .* at least 1, not 0.125"),
        ({"density": 8}, r"must lie in \(0, 1\], not 8; .* give density=0.125 or pruning_rate=8"),
        ({"density": 0.0}, r"must lie in \(0, 1\], not 0.0"),
        ({"density": float("nan")}, "not nan"),
        ({"pattern": 3}, "pattern must be a Pattern or its text form, not 3"),
        ({"pattern": "chess"}, "pattern: a pattern's name must be one of bank_balanced, b"),
        ({"method": None}, "method must be a Method such as ADMM"),
        ({"scope": "layer"}, "scope must be one of matrix, gate, global, units, not 'layer'"),
        ({"include": "encoder.*"}, r"include must be a tuple of globs .* not 'encoder.\*'"),
        ({"linear": 1}, "linear must be True or False, not 1"),
        ({"densities": {"a": 2}}, r"densities\['a'\] must lie in \(0, 1\], not 2"),
        ({"densities": [0.5]}, "densities must be a dictionary from globs"),
        ({"patterns": {"a": 4}}, r"patterns\['a'\] must be a Pattern"),
        ({"precision": "int4"}, "precision must be one of fp32, bf16, int8.* not 'int4'"),
        ({"precision": 8}, "precision must be one of fp32, bf16, int8.* not 8"),
        ({"quantize_from": 3}, "quantize_from says how weights are rounded, and .*='fp32' rounds"),
        ({"keep_fp32": ("a",)}, "keep_fp32 says how weights are rounded, and precision='fp32'"),
        ({"precision": "bf16", "quantize_from": -1}, "quantize_from must be a whole .* not -1"),
        ({"precision": "bf16", "keep_fp32": "head"}, "keep_fp32 must be a tuple of globs"),
        ({"precision": "int8", "pattern": Averaging()}, "weights off averaging.*: it is no mask"),
        ({"distill": 0.5}, "distill must be a Distillation or None, not 0.5"),
        ({"scope": "global", "densities": {"a": 0.5}}, "densities can't differ between weights"),
        ({"scope": "global", "patterns": {"a": "csb"}}, "patterns can't differ between weights"),
        ({"pattern": Averaging()}, "Gradual trains under a mask, and averaging.* is none"),
    ],
)
def test_refused_recipes(changes, message):
    with pytest.raises(RecipeError, match=message):
        Recipe(**({"pattern": CSB(), "density": 0.5, "method": OneShot()} | changes))


def test_all_reasons_come_at_once():
    with pytest.raises(RecipeError) as error:
        Recipe("chess", 9, None, scope="layer", include=3)
    assert str(error.value).count("\n  - ") == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 8}, "'rate' is no field of a recipe; there are pattern, density,"),
        ({"method": "admm"}, "method must be a table with a name, one of gradual, admm"),
        (
            {"method": {"name": "magic"}},
            "one of gradual, admm, group_lasso, threshold, not {'name': 'magic'}",
        ),
        ({"method": {"name": "admm"}}, "method 'admm' has the settings admm_steps, .*missing"),
        ({"method": {"name": "gradual", "begin": 0, "end": 1, "x": 1}}, "unexpected .* 'x'"),
        ({"distill": {"heat": 1}}, "distill has the settings weight, temperature, class_dim"),
        ({"distill": True}, "distill must be a table of settings, not True"),
    ],
)
def test_refused_data(changes, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict(FULL.to_dict() | changes)


def test_missing_data():
    with pytest.raises(RecipeError, match=r"'pattern' is missing\n.*'method' is missing"):
        Recipe.from_dict({})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Gradual(5, 4), "end must not come before begin, but 4 < 5"),
        (lambda: Gradual(0.5, 4), "begin must be a whole number of steps, at least 0, not 0.5"),
        (lambda: Gradual(0, 4, 0), "frequency must be a whole number of steps, at least 1"),
        (lambda: OneShot(-1), "begin .* not -1\n.*end .* not -1"),
        (lambda: ADMM(0, 10), "admm_steps must be a whole number of steps, at least 1, not 0"),
        (lambda: ADMM(10, 10), "interval must not exceed admm_steps, but 20 > 10"),
        (lambda: ADMM(90, 10, rho=0), "rho must be a positive number, not 0"),
        (lambda: ADMM(90, 10, rho_schedule=()), "rho_schedule must be positive factors"),
        (lambda: ADMM(90, 10, ramp_steps=71), "ramp_steps must leave Z an update"),
        (lambda: Distillation(0), r"weight must lie in \(0, 1\], not 0"),
        (lambda: Distillation(temperature=0), "temperature must be a positive number, not 0"),
        (lambda: Distillation(class_dim=0.5), "class_dim must be an integer, not 0.5"),
    ],
)
def test_refused_settings(build, message):
    with pytest.raises(RecipeError, match=message):
        build()


def test_methods_are_listed_by_name():
    assert all(method.name == name for name, method in METHODS.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pattern": {"name": ["csb"]}}, r"a pattern's name must be one of .*, not \['csb'\]"),
        ({"method": {"name": ["admm"]}}, "method must be a table with a name"),
        (
            {
                "method": {
                    "name": "group_lasso",
                    "strength": 1.0,
                    "lasso_steps": 9,
                    "pruning": {"name": "gradual", "begin": 0, "ramp": 5, "end": 8},
                }
            },
            "its name can be 'threshold' only, not 'gradual'",
        ),
    ],
)
def test_tables_of_another_kind(change, message):
    plain = {"pattern": "csb", "density": 0.5, "method": {"name": "gradual", "begin": 0, "end": 1}}
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict(plain | change)


def test_a_recipe_is_a_recipe():
    with pytest.raises(RecipeError, match=r"recipe must be a csbrnn\.Recipe\(.*\), not 'csb'"):
        prune_(torch.nn.LSTM(3, 4), "csb")
