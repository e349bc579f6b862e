"""`load_module`: all of a checkpoint or nothing, and nothing run without trust."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from csbrnn.errors import ArgumentError, FormatError, UnsupportedModelError
from csbrnn.model import Tokens
from csbrnn.nn import load_module, pack

CODE = """
from torch import nn
def make(): return nn.GRU(3, 4)
def needs(size): return nn.GRU(size, 4)
ready = nn.Linear(2, 2)
number = 3
class Zoo:
    small = make
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    (tmp_path / "zoo_of_models.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    return "zoo_of_models"


def saved(path, content):
    torch.save(content, path)
    return path


def test_from_code(code):
    assert isinstance(load_module(f"{code}:make"), nn.GRU)
    assert isinstance(load_module(f"{code}:ready"), nn.Linear)
    assert isinstance(load_module(f"{code}:Zoo.small"), nn.GRU)
    assert not load_module(f"{code}:make").training


def test_code_in_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "models_right_here.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert isinstance(load_module("models_right_here:make"), nn.GRU)
    assert sys.path == path


@pytest.mark.parametrize("key", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize(
    "wrapper", ["", "module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."]
)
def test_with_a_checkpoint(code, tmp_path, key, wrapper):
    state = nn.GRU(3, 4).state_dict()
    wrapped = {wrapper + name: tensor for name, tensor in state.items()}
    path = saved(tmp_path / "c.pt", wrapped if key is None else {key: wrapped, "epoch": 3})
    module = load_module(f"{code}:make", path)
    assert all(torch.equal(module.state_dict()[name], state[name]) for name in state)


def test_half_loading_is_refused_with_everything_that_differs(code, tmp_path):
    state = nn.GRU(5, 4).state_dict()
    del state["bias_hh_l0"]
    path = saved(tmp_path / "c.pt", {**state, "extra": torch.zeros(1)})
    with pytest.raises(FormatError) as caught:
        load_module(f"{code}:make", path)
    assert str(caught.value).splitlines()[1:] == [
        "  - missing: bias_hh_l0",
        "  - unexpected: extra",
        "  - weight_ih_l0 has shape (12, 5), not (12, 3)",
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{code}:absent", "must name a torch module as package.module:name"),
        ("no_such_package:x", "must name a torch module.*PYTHONPATH"),
        ("{code}:needs", "is called without arguments"),
        ("{code}:number", "must give a torch module, not int"),
        ("no_such_file.pt", "is no file; a module in code is package.module:name"),
    ],
)
def test_bad_specs(code, spec, message):
    with pytest.raises(ArgumentError, match=message):
        load_module(spec.format(code=code))


def test_a_checkpoint_needs_a_module(tmp_path):
    path = saved(tmp_path / "a.pt", nn.GRU(3, 4).state_dict())
    with pytest.raises(ArgumentError, match="a checkpoint goes with a module named as"):
        load_module(str(path), path)


def test_a_pickled_module_needs_trust(tmp_path, code):
    path = saved(tmp_path / "m.pt", nn.GRU(3, 4))
    with pytest.raises(ArgumentError, match=r"can run any code.*trust=True"):
        load_module(str(path))
    assert isinstance(load_module(str(path), trust=True), nn.GRU)
    with pytest.raises(ArgumentError, match=r"save model\.state_dict\(\)"):
        load_module(f"{code}:make", path)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code from the file was run')",))


def test_code_in_a_checkpoint_is_not_run(tmp_path, code):
    path = saved(tmp_path / "bomb.pt", {"weight": Bomb()})
    with pytest.raises(ArgumentError, match="can run any code"):
        load_module(str(path))
    with pytest.raises(ArgumentError, match="can run any code"):
        load_module(f"{code}:make", path)


def test_files_that_are_no_state_dict(tmp_path, code):
    (tmp_path / "text.pt").write_bytes(b"hello" * 10)
    for path in (
        saved(tmp_path / "a.pt", {"epoch": 3}),
        saved(tmp_path / "b.pt", [1, 2]),
        saved(tmp_path / "c.pt", {}),
    ):
        with pytest.raises(FormatError, match="must hold a state_dict"):
            load_module(f"{code}:make", path)
    with pytest.raises((FormatError, ArgumentError)):
        load_module(f"{code}:make", tmp_path / "text.pt")
    pickled = saved(tmp_path / "d.pt", {"x": object()})
    with pytest.raises(FormatError, match="must hold a torch module, not dict"):
        load_module(str(pickled), trust=True)


class Chain(nn.Module):
    def __init__(self, kind, *, head=True, **options):
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.rnns = nn.ModuleList([kind(3, 4, 2, **options)])
        self.head = nn.Linear(options.get("proj_size", 4), 7) if head else nn.Identity()

    def forward(self, x):
        return self.head(self.rnns[0](self.embedding(x))[0])


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize(
    ("kind", "options"), [(nn.LSTM, {}), (nn.LSTM, {"proj_size": 3}), (nn.GRU, {"bias": False})]
)
def test_a_bare_state_dict_that_leaves_no_doubt(tmp_path, kind, options, head):
    original = Chain(kind, head=head, **options)
    path = saved(tmp_path / "s.pt", original.state_dict())
    module = load_module(str(path))
    x = torch.randint(0, 7, (5, 2))
    assert torch.equal(module(x), original(x))
    assert list(module.state_dict()) == list(original.state_dict())
    assert pack(module).input == Tokens(7)


def test_a_bare_recurrent_layer(tmp_path):
    original = nn.LSTM(3, 4, bidirectional=True)
    module = load_module(str(saved(tmp_path / "s.pt", original.state_dict())))
    x = torch.randn(5, 2, 3)
    assert torch.equal(module(x)[0], original(x)[0])


def two_linear():
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("weight_hr_l0", (8, 4), "fewer after a projection, not 4 and 8"),
        ("weight_hh_l0", (4, 0), "there must be units"),
        ("weight_ih_l99", (16, 4), "numbered from 0 on, 64 at most, not 0, 99"),
        ("forward.weight", (4, 4), "no module can have a parameter of this name"),
        (".weight", (4, 4), "no module can have a parameter of this name"),
    ],
)
def test_a_bare_state_dict_that_is_none(tmp_path, name, shape, reason):
    state = nn.LSTM(4, 4).state_dict() | {name: torch.zeros(shape)}
    with pytest.raises(UnsupportedModelError, match=reason):
        load_module(saved(tmp_path / "w.pt", state))


def test_weights_of_other_types_are_refused(tmp_path, code):
    """Integers without their scale, and what fp32 would round; half precision is exact."""
    state = nn.GRU(3, 4).state_dict()
    for change in (lambda v: (v * 100).round().to(torch.int8), torch.Tensor.double):
        changed = state | {"weight_ih_l0": change(state["weight_ih_l0"])}
        path = saved(tmp_path / "other.pt", changed)
        with pytest.raises(FormatError, match=r"weight_ih_l0 is torch.\w+, not torch.float32"):
            load_module(f"{code}:make", checkpoint=path)
    whole = saved(tmp_path / "int.pt", {n: v.to(torch.int8) for n, v in state.items()})
    with pytest.raises(UnsupportedModelError, match="weights must be of floats"):
        load_module(whole)
    half = saved(tmp_path / "half.pt", {n: v.half() for n, v in state.items()})
    loaded = load_module(f"{code}:make", checkpoint=half)
    assert torch.equal(loaded.weight_ih_l0, state["weight_ih_l0"].half().float())


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.RNN(3, 4), "neither an LSTM's 4 gates nor a GRU's 3"),
        (two_linear(), "not a layer that is known"),
        (nn.ModuleDict({"a": nn.GRU(3, 4), "b": nn.GRU(4, 4)}), "how the layers are connected"),
        (nn.ModuleDict({"a": nn.GRU(3, 4), "b": nn.LayerNorm(4)}), "b: not a layer that is known"),
        (nn.ModuleDict({"a": nn.Embedding(4, 5), "b": nn.GRU(3, 4)}), "but 5 come before it"),
        (nn.ModuleDict({"a": nn.Linear(4, 3, bias=False), "b": nn.GRU(3, 4)}), "4 come before it"),
        (nn.ModuleDict({"a": nn.Linear(3, 3, bias=False), "b": nn.GRU(3, 4)}), "embedding or a"),
    ],
)
def test_a_bare_state_dict_that_leaves_doubt(tmp_path, module, reason):
    path = saved(tmp_path / "s.pt", module.state_dict())
    with pytest.raises(UnsupportedModelError) as caught:
        load_module(str(path))
    assert any(reason in line for line in caught.value.reasons)
    assert "name the module instead" in caught.value.reasons[-1]


def test_a_trusted_file_that_can_not_be_loaded_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gru.py").write_text("import torch\nclass Own(torch.nn.GRU):\n    pass\n")
    subprocess.run(
        [sys.executable, "-c", "import gru, torch; torch.save(gru.Own(3, 4), 'own.pt')"], check=True
    )
    assert load_module("own.pt", trust=True).hidden_size == 4  # found in the working directory
    assert str(tmp_path) not in sys.path
    (tmp_path / "gru.py").unlink()
    for name in ("gru", "gru.Own"):
        sys.modules.pop(name, None)
    with pytest.raises(ArgumentError, match=r"ModuleNotFoundError.*Safer is a state_dict"):
        load_module("own.pt", trust=True)
    (tmp_path / "text.pt").write_text("def f(): pass")
    with pytest.raises(ArgumentError, match=r"text\.pt can't be loaded"):
        load_module("text.pt", trust=True)


def test_code_that_can_not_be_imported_says_why(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_syntax.py").write_text("def make(:")
    (tmp_path / "broken_name.py").write_text("make = undefined")
    for name, what in (("broken_syntax", "SyntaxError"), ("broken_name", "NameError: name 'undef")):
        with pytest.raises(ArgumentError, match=f"must name a torch module.*{what}"):
            load_module(f"{name}:make")


def test_the_place_of_the_current_directory_in_the_path_stays(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (["", "a", str(tmp_path), "b", *sys.path], [str(tmp_path), *sys.path]):
        monkeypatch.setattr(sys, "path", list(path))
        load_module(f"{code}:make")
        assert sys.path == path
