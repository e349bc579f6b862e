"""The accelerator: from a program of `csbrnn.compiler` to an image, and what that image does.

In the order in which data passes: `arch` describes the machine; `plan` with `element_wise` turns a
program into stages of a `step`, and `binary_points` gives it its integers; `kernels` are what its
matrices store; `mapping` deals hidden units to groups, `layout` gives everything an address,
`strips` deals weights to streams, and `schedule` writes the macro-program; `compiler` runs all of
these and yields an `image`, which `verify` checks. `isa` has the bits and `assembly` the text of
programs.

A step is executed by `interpreter` on whole vectors, an image by `simulator` to the bit and by
`cycles` to the cycle. `baselines` models other machines on the same matrices; `energy` and
`implementation` tell what a step costs, the latter on an FPGA.
"""

from csbrnn.accelerator.arch import PRESETS, TIMING, VECTOR_FRAC, X_BITS, Arch, Timing, load_arch
from csbrnn.accelerator.assembly import format_program, parse_program
from csbrnn.accelerator.binary_points import DEFAULT_INPUT_RANGE
from csbrnn.accelerator.compiler import Compiled, compile_model, compile_step, fixed_step
from csbrnn.accelerator.cycles import Cycles, Span, Trace, count_cycles, trace
from csbrnn.accelerator.image import Image, OutputPart
from csbrnn.accelerator.interpreter import FixedMachine, host_input, host_output, run_fixed
from csbrnn.accelerator.simulator import Simulator, run_image
from csbrnn.accelerator.step import FixedStep
from csbrnn.accelerator.verify import image_problems, verify_image

__all__ = [
    "DEFAULT_INPUT_RANGE",
    "PRESETS",
    "TIMING",
    "VECTOR_FRAC",
    "X_BITS",
    "Arch",
    "Compiled",
    "Cycles",
    "FixedMachine",
    "FixedStep",
    "Image",
    "OutputPart",
    "Simulator",
    "Span",
    "Timing",
    "Trace",
    "compile_model",
    "compile_step",
    "count_cycles",
    "fixed_step",
    "format_program",
    "host_input",
    "host_output",
    "image_problems",
    "load_arch",
    "parse_program",
    "run_fixed",
    "run_image",
    "trace",
    "verify_image",
]
