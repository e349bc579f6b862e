"""`Engine`: a program ready to run on this machine, and `Stream`, its fastest way."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from csbrnn.checks import is_integer, plain_number
from csbrnn.compiler import MatVec, Program, lower, verify_program
from csbrnn.errors import ArgumentError, CsbrnnError
from csbrnn.model import PackedModel
from csbrnn.runtime.buffers import Scratch
from csbrnn.runtime.image import Image, build_image
from csbrnn.runtime.inputs import checked_input
from csbrnn.runtime.lane import Lane, Lanes, addresses
from csbrnn.runtime.layout import LINE, padded
from csbrnn.runtime.library import Model, available_isas, default_isa, library
from csbrnn.runtime.state import State

__all__ = ["Engine", "Stream", "compile"]

MAX_THREADS: Final = 256
SERIAL_BELOW: Final = 200_000
"""Weights a step from which a second thread helps. Measured on two idle cores of Zen 5, dense LSTM:
33,000 weights 1.2 us alone and 1.8 us with two threads, 131,000 3.0 and 3.0, 295,000 10.5 and 5.2.
Where another process holds the second core, two threads cost 35 us a step whatever the size."""
_BAD_TOKEN: Final = 3
"""Of ``csbrnn_error``."""


def compile(model: PackedModel | Program, threads: int = 1, isa: str | None = None) -> Engine:
    """Compile a model for this machine.

    Args:
        model: A packed model, or a program lowered from one.
        threads: Threads that share the work of each step, the caller included. Where blocks with
            free rows are not int8, last bits depend on their number.
        isa: Instruction set, one of `available_isas`; by default the best, or the one named by the
            environment variable ``CSBRNN_ISA``.

    Raises:
        ArgumentError: ``threads`` or ``isa`` can't be had.
        UnsupportedModelError: The model can't be compiled; with all reasons.
        MissingDependencyError: The C library has not been built.
    """
    if isinstance(model, PackedModel):
        program = lower(model)
    elif isinstance(model, Program):
        verify_program(model)
        program = model
    else:
        raise ArgumentError(
            f"model must be a PackedModel or a Program, got {type(model).__name__}: csbrnn.load"
            " reads a packed model, csbrnn.pack makes one of a PyTorch module"
        )
    return Engine(program, threads, isa)


class Engine:
    """A compiled model. Immutable: states are passed in and out, so any thread may use it.

    With ``threads=1``, calls from several Python threads run at once; with more, they take turns.

    Args:
        program: A verified program.
        threads: Threads that may share the work of each step; a model with fewer weights than
            `SERIAL_BELOW` is left to the caller's own, which is faster.
        isa: Instruction set; see `compile`.

    Attributes:
        program: What it runs.
        threads: Threads asked for, the caller included.
        isa: Name of the instruction set in use.
    """

    def __init__(self, program: Program, threads: int = 1, isa: str | None = None) -> None:
        threads = plain_number(threads)
        if not is_integer(threads, 1) or threads > MAX_THREADS:
            raise ArgumentError(f"threads must be an integer in 1..{MAX_THREADS}, got {threads!r}")
        self.isa = default_isa() if isa is None else isa
        if self.isa not in available_isas():
            raise ArgumentError(f"isa must be one of {', '.join(available_isas())}, got {isa!r}")
        self.program, self.threads = program, threads
        self._library = library()
        parts = threads if _weights(program) >= SERIAL_BELOW else 1
        self._image: Image = build_image(program, parts, self.isa)
        self._model = Model()
        data = self._image.data
        name = self.isa.encode()
        model = ctypes.byref(self._model)
        error = self._library.csbrnn_open(model, data.ctypes.data, data.nbytes, name)
        if error:
            raise _error(error, self)
        self._memory_nbytes = int(self._library.csbrnn_memory_nbytes(model))
        # A line more than it takes: streams whole pages apart would share a few sets of the caches.
        self._lane_nbytes = padded(self._memory_nbytes, LINE) + LINE
        self._scratch = Scratch()
        self._lanes: list[Lane] = []  # idle ones, for steps of single streams
        self._batches: list[Lanes] = []  # and of batches
        self._output_width = program.streams["output"].width
        self._pool: int | None = None
        # Calls take turns only where they would share worker threads.
        self._turn: Any = contextlib.nullcontext()
        if parts > 1:
            self._pool = self._library.csbrnn_pool_create(parts)
            if not self._pool:
                raise CsbrnnError(f"the system refused to start {threads - 1} threads")
            self._turn = threading.Lock()
            _WITH_POOLS.add(self)
            destroyed = weakref.finalize(self, self._library.csbrnn_pool_destroy, self._pool)
            # A thread of Python's may still be in a step when the process ends.
            destroyed.atexit = False

    def __copy__(self) -> Engine:
        return self  # nothing in it changes

    def __deepcopy__(self, memo: dict[int, Any]) -> Engine:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an Engine holds compiled code and can't be pickled: save the packed model"
            " (csbrnn.save) and compile it where it is needed"
        )

    def __repr__(self) -> str:
        return f"Engine(isa={self.isa!r}, threads={self.threads}, nbytes={self.nbytes})"

    @property
    def nbytes(self) -> int:
        """Bytes of the image: weights, indices, instructions."""
        return self._image.data.nbytes

    @property
    def image(self) -> NDArray[np.uint8]:
        """The image, read-only; docs/spec/program.md describes it."""
        return self._image.data

    def initial_state(self, batch: int | None = None) -> State:
        """Return the state at the start of a sequence: zeros."""
        batch = plain_number(batch)
        if batch is not None and not is_integer(batch, 0):
            raise ArgumentError(f"batch must be None or an integer from 0 on, got {batch!r}")
        return State(self._image.states, batch)

    def state_from_bytes(self, data: bytes) -> State:
        """Read what `State.to_bytes` wrote.

        Raises:
            FormatError: The bytes are not a state of this model.
        """
        return State.from_bytes(data, self._image.states)

    def step(self, x: object, state: State | None = None) -> tuple[NDArray[np.float32], State]:
        """Run one time step; ``state`` is not changed.

        Args:
            x: Input. Features are floats (rounded to float32), tokens integers.
            state: State before the step; by default that of a sequence's start.

        Shape:
            x: (input,) or (batch, input); for tokens () or (batch,)
            returns: (output,) or (batch, output), and the state after the step

        Raises:
            ArgumentError: An argument doesn't fit, or the model reads its input backward too.
        """
        self._need_causal()
        checked = checked_input(x, self.program.streams["input"], sequence=False)
        if checked.size == checked.shape[-1]:
            return self._step_alone(checked, state)
        return self._step_batch(checked, state)

    def __call__(self, xs: object, state: State | None = None) -> tuple[NDArray[np.float32], State]:
        """Run a sequence; ``state`` is not changed.

        Shape:
            xs: (seq_len, input) or (seq_len, batch, input); tokens (seq_len,) or (seq_len, batch)
            returns: (seq_len, output) or (seq_len, batch, output), and the state after it

        Raises:
            ArgumentError: An argument doesn't fit.
        """
        return self._run(
            checked_input(xs, self.program.streams["input"], sequence=True), state, "xs"
        )

    def stream(self, state: State | None = None) -> Stream:
        """Return a stream: one sequence, run step by step in place."""
        self._need_causal()
        return Stream(self, state)

    def _need_causal(self) -> None:
        if not self.program.causal:
            raise ArgumentError(
                "this model also reads its input backward, so it can't be run step by step:"
                " call the engine on whole sequences"
            )

    def _lane(self) -> Lane:
        """Return memory for a stream: zeros."""
        nbytes = (self._memory_nbytes, self._image.states.nbytes)
        source = self.program.streams["input"]
        return Lane(self._model, self._pool, nbytes, source, self._output_width)

    def _step_alone(
        self, x: NDArray[Any], state: State | None
    ) -> tuple[NDArray[np.float32], State]:
        """Run one step of one stream, a batch of one or none: as `_run`, in a fifth of its time."""
        batch = None if x.ndim == 1 else 1
        before = self._before(state, batch, "x")
        try:
            lane = self._lanes.pop()  # atomic, as append is
        except IndexError:
            lane = self._lane()
        try:
            lane.x[...] = x
            lane.states[...] = 0 if before is None else before.data[0]
            with self._turn:
                error = lane.step()
            if error:
                raise _error(error, self)
            after = State(self._image.states, batch)
            after.data[0] = lane.states
            return lane.y.reshape(*x.shape[:-1], -1).copy(), after
        finally:
            self._lanes.append(lane)

    def _step_batch(
        self, x: NDArray[Any], state: State | None
    ) -> tuple[NDArray[np.float32], State]:
        """Run one step of a batch: as `_run`, in a fifth of its time."""
        batch = len(x)
        before = self._before(state, batch, "x")
        lanes = None
        with contextlib.suppress(IndexError):
            lanes = self._batches.pop()  # atomic, as append is
        if lanes is None or len(lanes.x) < batch:  # of more, the first ones will do
            sizes = (self._lane_nbytes, self._image.states.nbytes)
            lanes = Lanes(batch, *sizes, self.program.streams["input"], self._output_width)
        try:
            lanes.x[:batch] = x
            lanes.states[:batch] = 0 if before is None else before.data
            error = self._run_many(ctypes.byref(self._model), *lanes.pointers, 1, batch, None)
            if error:
                raise _error(error, self)
            after = State(self._image.states, batch)
            after.data[...] = lanes.states[:batch]
            return lanes.y[:batch].copy(), after
        finally:
            self._batches.append(lanes)

    def _run(
        self, xs: NDArray[Any], state: State | None, name: str
    ) -> tuple[NDArray[np.float32], State]:
        batch = xs.shape[1] if xs.ndim == 3 else None
        before = self._before(state, batch, name)
        after = self.initial_state(batch) if before is None else before.copy()
        # Each stream with its inputs and outputs in one piece.
        streams = xs[None] if batch is None else np.ascontiguousarray(xs.swapaxes(0, 1))
        steps, count = xs.shape[0], len(streams)
        ys = np.empty((count, steps, self._output_width), np.float32)
        model = ctypes.byref(self._model)
        with self._scratch.borrow(count * self._lane_nbytes) as lanes:
            memories = lanes.reshape(count, self._lane_nbytes)
            states = memories[:, : after.layout.nbytes]
            if self._image.clears:
                memories[...] = 0
            states[...] = after.data.view(np.uint8)
            places = [addresses(array) for array in (memories, streams, ys)]
            needed = int(self._library.csbrnn_many_nbytes(model, steps, count))
            with self._scratch.borrow(needed) as workspace:
                pointers = [place.ctypes.data for place in places]
                between = workspace.ctypes.data if needed else None
                error = self._run_many(model, *pointers, steps, count, between)
            if error:
                raise _error(error, self)
            after.data.view(np.uint8)[...] = states
        return (ys[0] if batch is None else ys.swapaxes(0, 1)), after

    def _run_many(self, *arguments: Any) -> int:
        if self._pool is None:
            return int(self._library.csbrnn_run_many(*arguments))
        with self._turn:
            return int(self._library.csbrnn_pool_run_many(self._pool, *arguments))

    def _checked(self, state: State) -> State:
        if not isinstance(state, State):
            raise ArgumentError(
                f"state must be a State of this engine (see initial_state), got"
                f" {type(state).__name__}"
            )
        if state.layout.fingerprint != self._image.states.fingerprint:
            raise ArgumentError(f"the state belongs to another model: it holds {state!r}")
        return state

    def _before(self, state: State | None, batch: int | None, name: str) -> State | None:
        """Return the state that inputs called ``name`` follow, if it fits them."""
        if state is not None and self._checked(state).batch != batch:
            raise ArgumentError(
                f"{name} and state must have the same batch, got {batch} and {state.batch}"
            )
        return state


class Stream:
    """One sequence, run in place: the fastest way from Python, and without garbage.

    ``x``, ``y`` and the state are buffers that stay where they are. Fill ``x`` and call `step`, or
    pass the input to it. A stream belongs to one thread at a time.

    Attributes:
        engine: The engine that runs it.
    """

    def __init__(self, engine: Engine, state: State | None = None) -> None:
        self.engine = engine
        self._lane = engine._lane()
        self._x, self._y = self._lane.x, self._lane.y
        self._shape, self._dtype = self._x.shape, self._x.dtype
        source = engine.program.streams["input"]
        self._bound = source.bound if source.dtype == "int32" else 0
        alone = engine._pool is None
        self._step = self._lane.step if alone else partial(_in_turn, engine, self._lane.step)
        if state is not None:
            self.state = state

    def step(self, x: object = None) -> NDArray[np.float32]:
        """Run one time step and return ``y``, the same buffer each time.

        Args:
            x: Input; by default what ``self.x`` holds.

        Raises:
            ArgumentError: ``x`` doesn't fit. The state has not changed.
        """
        if x is None:  # and `self.x` has been filled
            pass
        elif type(x) is int and 0 <= x < self._bound:
            self._x[0] = x  # what generating text does: a general check would take longer than C
        else:
            fits = type(x) is np.ndarray and x.dtype is self._dtype and x.shape == self._shape
            if not fits:
                x = checked_input(x, self.engine.program.streams["input"], sequence=False)
                if x.ndim != 1:
                    raise ArgumentError(
                        f"a stream has no batch: x must be one input, got {x.shape}"
                    )
            self._x[...] = x
        error = self._step()
        if error:
            raise _error(error, self.engine)
        return self._y

    @property
    def x(self) -> NDArray[Any]:
        """Input buffer: (input,) float32, or (1,) int32 for tokens; to be filled in place."""
        return self._x

    @property
    def y(self) -> NDArray[np.float32]:
        """Output buffer, (output,) float32; overwritten by every step."""
        return self._y

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Stream runs in memory of its own and can't be copied: engine.stream(stream.state)"
            " makes another one that goes on from here"
        )

    def reset(self) -> None:
        """Go back to the start of a sequence: all states zero."""
        self._lane.states[...] = 0

    @property
    def state(self) -> State:
        """A copy of the state; assigning sets it."""
        state = self.engine.initial_state()
        state.data[0] = self._lane.states
        return state

    @state.setter
    def state(self, state: State) -> None:
        if self.engine._checked(state).batch is not None:
            raise ArgumentError(f"a stream's state has no batch, got one of {state.batch}")
        self._lane.states[...] = state.data[0]


_WITH_POOLS: Final[weakref.WeakSet[Engine]] = weakref.WeakSet()
"""Engines whose calls take turns."""


def _free_turns() -> None:
    """In a forked child: whoever held a turn is not there to end it."""
    for engine in _WITH_POOLS:
        engine._turn = threading.Lock()


os.register_at_fork(after_in_child=_free_turns)


def _in_turn(engine: Engine, step: Callable[[], int]) -> int:
    """Run a step by the engine's threads, which work for one stream at a time."""
    with engine._turn:
        return step()


def _weights(program: Program) -> int:
    """Return the weights that a step multiplies."""
    total = 0
    for code in (code for part in program.passes for code in part.instructions):
        if isinstance(code, MatVec):
            matrix = program.matrices[code.matrix]
            total += matrix.multiplied * (code.row_stop - code.row_start) // matrix.shape[0]
    return total


def _error(code: int, engine: Engine) -> CsbrnnError:
    if code == _BAD_TOKEN:
        bound = engine.program.streams["input"].bound
        return ArgumentError(f"tokens must lie in 0..{bound - 1}; one does not")
    return CsbrnnError(f"the C library failed with code {code}: a defect")
