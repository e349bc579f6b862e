"""The built-in cells, each written once.

Gate order and parameter layout are those of `torch.nn` where PyTorch has the cell, so its weights
are taken as they are.
"""

from __future__ import annotations

from csbrnn.cells.cell import Cell, Parameter, gated_parameters

__all__ = [
    "CELLS",
    "GRU",
    "GRU_RESET_BEFORE",
    "LIGRU",
    "LSTM",
    "LSTM_PEEPHOLE",
    "LSTM_PROJECTION",
    "RNN_RELU",
    "RNN_TANH",
]

#: Elman (1990), as `torch.nn.RNN`.
RNN_TANH = Cell(
    name="rnn_tanh",
    states={"h": "hidden"},
    parameters=gated_parameters("h"),
    equations="h_next = tanh(W_ih @ x + b_ih + W_hh @ h + b_hh)",
)

#: Elman with rectified linear units, as ``torch.nn.RNN(nonlinearity="relu")``.
RNN_RELU = Cell(
    name="rnn_relu",
    states={"h": "hidden"},
    parameters=gated_parameters("h"),
    equations="h_next = relu(W_ih @ x + b_ih + W_hh @ h + b_hh)",
)

#: Hochreiter & Schmidhuber (1997) with forget gate, as `torch.nn.LSTM`.
LSTM = Cell(
    name="lstm",
    states={"h": "hidden", "c": "hidden"},
    parameters=gated_parameters("ifgo"),
    equations="""
        i = sigmoid(W_ii @ x + b_ii + W_hi @ h + b_hi)
        f = sigmoid(W_if @ x + b_if + W_hf @ h + b_hf)
        g = tanh(W_ig @ x + b_ig + W_hg @ h + b_hg)
        o = sigmoid(W_io @ x + b_io + W_ho @ h + b_ho)
        c_next = f * c + i * g
        h_next = o * tanh(c_next)
    """,
)

#: LSTM with a recurrent projection (Sak et al., 2014), as ``torch.nn.LSTM(proj_size=...)``.
LSTM_PROJECTION = Cell(
    name="lstm_projection",
    states={"h": "proj", "c": "hidden"},
    parameters=(
        *gated_parameters("ifgo", hidden="proj"),
        Parameter("weight_hr", ("W_hr",), "proj", "hidden"),
    ),
    equations="""
        i = sigmoid(W_ii @ x + b_ii + W_hi @ h + b_hi)
        f = sigmoid(W_if @ x + b_if + W_hf @ h + b_hf)
        g = tanh(W_ig @ x + b_ig + W_hg @ h + b_hg)
        o = sigmoid(W_io @ x + b_io + W_ho @ h + b_ho)
        c_next = f * c + i * g
        h_next = W_hr @ (o * tanh(c_next))
    """,
)

#: LSTM whose gates see the memory cell (Gers & Schmidhuber, 2000); ``weight_c`` stacks the three
#: diagonal peepholes. The output gate sees the new memory cell.
LSTM_PEEPHOLE = Cell(
    name="lstm_peephole",
    states={"h": "hidden", "c": "hidden"},
    parameters=(
        *gated_parameters("ifgo"),
        Parameter("weight_c", ("p_i", "p_f", "p_o"), "hidden"),
    ),
    equations="""
        i = sigmoid(W_ii @ x + b_ii + W_hi @ h + b_hi + p_i * c)
        f = sigmoid(W_if @ x + b_if + W_hf @ h + b_hf + p_f * c)
        g = tanh(W_ig @ x + b_ig + W_hg @ h + b_hg)
        c_next = f * c + i * g
        o = sigmoid(W_io @ x + b_io + W_ho @ h + b_ho + p_o * c_next)
        h_next = o * tanh(c_next)
    """,
)

#: GRU with the reset gate after the product (Chung et al., 2014 v2), as `torch.nn.GRU`.
GRU = Cell(
    name="gru",
    states={"h": "hidden"},
    parameters=gated_parameters("rzn"),
    equations="""
        r = sigmoid(W_ir @ x + b_ir + W_hr @ h + b_hr)
        z = sigmoid(W_iz @ x + b_iz + W_hz @ h + b_hz)
        n = tanh(W_in @ x + b_in + r * (W_hn @ h + b_hn))
        h_next = (1 - z) * n + z * h
    """,
)

#: GRU with the reset gate before the product, as first published (Cho et al., 2014).
GRU_RESET_BEFORE = Cell(
    name="gru_reset_before",
    states={"h": "hidden"},
    parameters=gated_parameters("rzn"),
    equations="""
        r = sigmoid(W_ir @ x + b_ir + W_hr @ h + b_hr)
        z = sigmoid(W_iz @ x + b_iz + W_hz @ h + b_hz)
        n = tanh(W_in @ x + b_in + W_hn @ (r * h) + b_hn)
        h_next = (1 - z) * n + z * h
    """,
)

#: Light GRU for speech (Ravanelli et al., 2018): no reset gate, relu candidate. The paper's batch
#: norm of the input products is affine once trained: fold it into ``weight_ih`` and ``bias_ih``.
LIGRU = Cell(
    name="ligru",
    states={"h": "hidden"},
    parameters=gated_parameters("zn", bias=("ih",)),
    equations="""
        z = sigmoid(W_iz @ x + b_iz + W_hz @ h)
        n = relu(W_in @ x + b_in + W_hn @ h)
        h_next = (1 - z) * n + z * h
    """,
)

#: Every built-in cell by name.
CELLS = {
    cell.name: cell
    for cell in (
        RNN_TANH,
        RNN_RELU,
        LSTM,
        LSTM_PROJECTION,
        LSTM_PEEPHOLE,
        GRU,
        GRU_RESET_BEFORE,
        LIGRU,
    )
}
