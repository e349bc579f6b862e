"""A cell of your own: written as equations, trained, pruned, packed and run from C.

    python examples/custom_cell.py

The cell is the minimal gated unit (Zhou et al., 2016): a GRU whose one gate both resets and
updates. The task is a stream: hold the last value whose flag was raised.
"""

import sys

import numpy as np
import torch
from torch import nn

import csbrnn
from csbrnn.cells import Cell, gated_parameters
from csbrnn.model import run_reference
from csbrnn.nn import Recurrent

MGU = Cell(
    name="mgu",
    states={"h": "hidden"},
    parameters=gated_parameters("fn", bias=("ih",)),  # W_if, W_in @ x; W_hf, W_hn @ h; b_if, b_in
    equations="""
        f = sigmoid(W_if @ x + b_if + W_hf @ h)
        n = tanh(W_in @ x + b_in + W_hn @ (f * h))
        h_next = (1 - f) * h + f * n
    """,
)


class SampleAndHold(nn.Module):
    """From a value and a flag at each step: the value that the last raised flag came with."""

    def __init__(self, hidden_size):
        super().__init__()
        self.rnn = Recurrent(MGU, input_size=2, hidden_size=hidden_size)
        self.output = nn.Linear(hidden_size, 1)

    def forward(self, x, states=None):
        y, states = self.rnn(x, states)
        return self.output(y), states


def draw(seq_len, batch):
    """Streams and what should come out. Shape: (seq_len, batch, 2) and (seq_len, batch, 1)."""
    values = torch.rand(seq_len, batch) * 2 - 1
    flags = torch.rand(seq_len, batch) < 0.2
    steps = torch.arange(seq_len)[:, None].expand_as(flags)
    last = torch.where(flags, steps, -1).cummax(dim=0).values
    held = torch.where(last >= 0, values.gather(0, last.clamp(min=0)), 0.0)
    return torch.stack([values, flags.float()], dim=-1), held[..., None]


def main(steps=600, hidden_size=32):
    torch.set_num_threads(1)  # the matrices are small: more threads would only wait
    torch.manual_seed(0)
    model = SampleAndHold(hidden_size)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)

    recipe = csbrnn.Recipe(
        csbrnn.CSB(block=(16, 16), row_group=8),
        pruning_rate=4,
        method=csbrnn.Gradual(begin=steps // 3, end=2 * steps // 3, frequency=10),
    )
    pruner = csbrnn.prune_(model, recipe)  # 1
    for step in range(1, steps + 1):
        x, target = draw(seq_len=20, batch=32)
        loss = pruner.loss(nn.functional.mse_loss(model(x)[0], target))  # 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        pruner.step()  # 3
        if step % (steps // 6) == 0:
            print(f"step {step:4}: mean squared error {loss.item():.4f}")
    pruner.finalize()

    packed = csbrnn.pack(model)
    print(f"packed: {packed.kept_weights} of {packed.dense_weights} weights, {packed.nbytes} bytes")

    x, target = draw(seq_len=100, batch=1)
    xs = x[:, 0].numpy()
    with torch.inference_mode():
        trained = model(x)[0][:, 0].numpy()
    reference, _ = run_reference(packed, xs)  # the definition: NumPy, float64

    engine = csbrnn.compile(packed)
    state, outputs = engine.initial_state(), []
    for step_input in xs:
        y, state = engine.step(step_input, state)
        outputs.append(y)

    results = {"PyTorch": trained, "NumPy": reference, f"C ({engine.isa})": np.stack(outputs)}
    error = max(float(np.abs(result - reference).max()) for result in results.values())
    print(f"{', '.join(results)} agree to {error:.1e}")
    mse = float(np.square(reference - target[:, 0].numpy()).mean())
    print(f"mean squared error on a new stream: {mse:.4f}")
    return error, mse


if __name__ == "__main__":
    error, _ = main()
    sys.exit(error > 1e-5)
