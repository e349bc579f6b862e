import pytest

from csbrnn.compiler import (
    Copy,
    Elementwise,
    MatVec,
    MicroOp,
    Pass,
    Program,
    Slice,
    Stream,
    Vector,
)
from csbrnn.compiler.copies import remove_copies
from csbrnn.compiler.text import format_program

VECTORS = {
    "x": ("input", 2),
    "h": ("state", 2),
    "c": ("state", 2),
    "new": ("scratch", 2),
    "other": ("scratch", 2),
    "wide": ("scratch", 4),
}


def whole(name):
    return Slice(name, 0, VECTORS[name][1])


def copy(destination, source):
    return Copy(whole(destination), whole(source))


def tanh(destination, source):
    operations = (
        MicroOp("load", slice=whole(source)),
        MicroOp("tanh", (0,)),
        MicroOp("store", (1,), whole(destination)),
    )
    return Elementwise(2, operations)


def product(destination, source, **options):
    return MatVec(destination, whole(source), "W", 0, 2, **options)


def program_of(*code, output="h"):
    return Program(
        vectors={n: Vector(n, length, kind) for n, (kind, length) in VECTORS.items()},
        streams={"input": Stream("input", 2), "output": Stream("output", 2)},
        passes=(Pass(False, (("input", 0, "x"),), ((whole(output), "output", 0),), code),),
        constants={},
        matrices={},
        tables={},
        states={"r.h": ("h",), "r.c": ("c",)},
    )


REMOVABLE = {
    "computed in place": (tanh("new", "h"), copy("h", "new")),
    "the old state was read before": (tanh("other", "h"), tanh("new", "x"), copy("h", "new")),
    "a sum": (product("new", "x"), product("new", "c", accumulate=True), copy("h", "new")),
    "the value is read again": (tanh("new", "h"), copy("h", "new"), tanh("other", "new")),
}
NEEDED = {
    "the product still reads the old state": (product("new", "h"), copy("h", "new")),
    "the sum reads the old state": (
        product("new", "x"),
        product("new", "h", accumulate=True),
        copy("h", "new"),
    ),
    "something reads the old state": (tanh("new", "h"), tanh("other", "h"), copy("h", "new")),
    "something writes the state": (tanh("new", "h"), copy("h", "x"), copy("h", "new")),
    "the scratch vector changes later": (
        tanh("new", "h"),
        copy("h", "new"),
        tanh("new", "x"),
        tanh("c", "new"),
    ),
    "the state changes later": (
        tanh("new", "h"),
        copy("h", "new"),
        copy("h", "x"),
        tanh("c", "new"),
    ),
    "the source is an input": (copy("h", "x"),),
    "the source is a state": (copy("h", "c"),),
    "the destination is scratch": (tanh("new", "h"), copy("other", "new"), copy("c", "other"))[:2],
}


@pytest.mark.parametrize("code", REMOVABLE.values(), ids=REMOVABLE)
def test_copies_that_can_go(code):
    (part,) = remove_copies(program_of(*code)).passes
    assert len(part.instructions) == len(code) - 1
    assert "new" not in repr(part)


@pytest.mark.parametrize("code", NEEDED.values(), ids=NEEDED)
def test_copies_that_must_stay(code):
    before = program_of(*code)
    (part,) = remove_copies(before).passes
    assert part == before.passes[0]


def test_part_of_a_vector_is_copied():
    code = (MatVec("wide", whole("x"), "W", 0, 4), Copy(whole("h"), Slice("wide", 0, 2)))
    (part,) = remove_copies(program_of(*code)).passes
    assert part.instructions == code


def test_one_of_two_swapped_states_needs_no_scratch():
    code = (copy("new", "c"), copy("other", "h"), copy("h", "new"), copy("c", "other"))
    (part,) = remove_copies(program_of(*code)).passes
    assert part.instructions == (copy("new", "c"), copy("c", "h"), copy("h", "new"))


def test_writes_follow_the_renaming_and_unused_vectors_go():
    after = remove_copies(program_of(tanh("new", "h"), copy("h", "new"), output="new"))
    assert after.passes[0].writes == ((whole("h"), "output", 0),)
    assert set(after.vectors) == {"x", "h", "c"}
    assert "new" not in format_program(after)
