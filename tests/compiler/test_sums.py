from csbrnn.cells import GRU, LSTM
from csbrnn.compiler.sums import Sum, gather_sums

from .models import make_cell


def operations(graph):
    return [node.op for node in graph.nodes]


def sums_of(equations, **options):
    graph = gather_sums(make_cell(f"{equations}\nc_next = c", **options))
    leaf = {k: node.name or "x" for k, node in enumerate(graph.nodes)}
    return [
        ([(part, leaf[operand]) for part, operand in s.products], list(s.constants))
        for s in graph.sums.values()
    ]


def test_lstm_has_one_sum_a_gate():
    graph = gather_sums(LSTM)
    assert len(graph.sums) == 4
    assert {len(s.products) for s in graph.sums.values()} == {2}
    assert graph.sums[min(graph.sums)].constants == ((1.0, "b_ii"), (1.0, "b_hi"))
    assert [graph.labels[k] for k in graph.sums] == ["i", "f", "g", "o"]


def test_gru_keeps_the_scaled_product_apart():
    sums = list(gather_sums(GRU).sums.values())
    assert [[part for part, _ in s.products] for s in sums] == [
        ["W_ir", "W_hr"],
        ["W_iz", "W_hz"],
        ["W_hn"],
        ["W_in"],
    ]


def test_constants_go_along_with_their_sign():
    assert sums_of("h_next = 1 - b + W @ x + d - 0.5") == [
        ([("W", "x")], [(1.0, ""), (-1.0, "b"), (1.0, "d"), (-0.5, "")])
    ]


def test_subtracted_products_are_sums_of_their_own():
    assert sums_of("h_next = W @ x - U @ h") == [([("U", "h")], []), ([("W", "x")], [])]


def test_a_product_subtracted_twice_is_added():
    assert sums_of("h_next = h - (b - U @ h)") == [([("U", "h")], [(-1.0, "b")])]


def test_products_used_twice_are_sums_of_their_own():
    assert sums_of("a = U @ h\nh_next = a * (a + b)") == [([("U", "h")], [])]
    assert sums_of("h_next = U @ h + U @ h") == [([("U", "h")], [])]


def test_a_shared_sum_is_computed_once():
    graph = gather_sums(make_cell("a = W @ x + b\nh_next = tanh(a)\nc_next = a + U @ h"))
    assert [s.constants for s in graph.sums.values()] == [((1.0, "b"),), ()]


def test_sums_without_products_are_left_as_written():
    graph = gather_sums(make_cell("h_next = (h + c) - (c + b)\nc_next = c"))
    assert not graph.sums
    assert operations(graph) == ["state", "state", "add", "vector", "add", "sub"]


def test_dead_operations_vanish():
    graph = gather_sums(make_cell("a = tanh(U @ h)\nh_next = U @ h\nc_next = c"))
    assert operations(graph) == ["state", "sum", "state"]
    assert graph.sums == {1: Sum((("U", 0),))}


def test_long_chains_do_not_recurse():
    chain = "\n".join(f"a{k} = a{k - 1} + h" for k in range(1, 400))
    graph = gather_sums(make_cell(f"a0 = U @ h\n{chain}\nh_next = a399\nc_next = c"))
    assert operations(graph).count("add") == 399
