"""The command line: arguments in, tables out. What a verb does is in `csbrnn.commands`."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from csbrnn import __version__
from csbrnn.cli_hw import hw
from csbrnn.commands.output_file import Json, check_writable, write_result
from csbrnn.errors import ArgumentError, CsbrnnError
from csbrnn.files import make_directory
from csbrnn.optional import needed_for

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="csbrnn",
    help="Prune recurrent networks, pack them, and run them as fast as the machine allows.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(hw)

ModelDir = Annotated[Path, typer.Argument(metavar="MODEL", help="Directory of a packed model.")]
Data = Annotated[
    str | None, typer.Option(help="Where the task's data lies: a text file, a folder.")
]
Device = Annotated[str, typer.Option(help="What to train on: `cpu`, `cuda`.")]
TrainingThreads = Annotated[int, typer.Option(min=1, max=256, help="Threads to train with.")]
KeepFp32 = Annotated[
    list[str] | None,
    typer.Option(
        help="Pattern of LAYER/PARAMETER that is not rounded, e.g. `output/*`. May be given several"
        " times."
    ),
]
Threads = Annotated[int, typer.Option(min=1, max=256, help="Threads of the engine.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(help="Where checkpoints, packed models and result.json go.")
    ] = Path("csbrnn-demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A smaller network, in under a minute.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget what an earlier run left in OUT.")
    ] = False,
    json_file: Json = None,
) -> None:
    """Train a character LM, prune it, pack it, prove it, race it.

    The text is Python's own language reference. About ten minutes on two cores. Interrupted, the
    same command goes on where it stopped.
    """
    from csbrnn.commands.demo import FULL, QUICK, run_demo

    result = run_demo(QUICK if quick else FULL, out, _console(), restart=restart)
    write_result(json_file, result)


@app.command()
def pack(
    module: Annotated[
        str,
        typer.Argument(
            metavar="MODULE",
            help="`package.module:name` of a torch module or of a function that makes one, or a "
            "file: a state dict, or a whole pickled module (with --trust).",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory to write.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="State dict to load into the module.")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="How to store weights, e.g. `csb(block=16x64,row_group=16)`. "
            "Left out: whichever is smallest for each matrix."
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Of the weights of recurrent and linear layers: fp32, bf16, int8, fixed16, "
            "fixed12. [that which the module is trained for, or fp32]",
            show_default=False,
        ),
    ] = None,
    keep_fp32: KeepFp32 = None,
    sample: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            metavar="INPUT",
            help="Sample input, a .npy array (steps, features) or (steps,): the scales of int8 "
            "activations are fixed on it, instead of following each input.",
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            help="JSON list of the characters that a token model's numbers stand for, so that"
            " `accuracy` and `run` take text. The first stands for all that are not in it."
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Unpickle a whole module: runs code from the file.")
    ] = False,
    json_file: Json = None,
) -> None:
    """Turn a torch module or checkpoint into a packed model."""
    from csbrnn.commands.inspect import inspect_model
    from csbrnn.commands.vocabulary import check_vocabulary, read_vocabulary
    from csbrnn.model import save

    with needed_for("packing", "train"):
        from csbrnn.nn import load_module
        from csbrnn.nn import pack as pack_module
        from csbrnn.patterns import parse_pattern
    metadata = {} if vocabulary is None else {"vocabulary": read_vocabulary(vocabulary)}
    packed = pack_module(
        load_module(module, checkpoint, trust=trust),
        metadata=metadata,
        pattern=None if pattern is None else parse_pattern(pattern),
        precision=precision,
        keep_fp32=keep_fp32 or (),
    )
    if vocabulary is not None:
        check_vocabulary(packed, vocabulary)
    if sample is not None:
        from csbrnn.commands.calibrate import calibrated

        packed = calibrated(packed, sample)
    make_directory(out.parent)
    try:
        save(packed, out)
    except OSError as error:
        raise ArgumentError(f"{out}: can't be written: {error.strerror or error}") from None
    inspection = inspect_model(packed)
    _console().print(inspection.sizes(), inspection.balance())
    write_result(json_file, inspection.to_dict())


@app.command()
def inspect(model: ModelDir, json_file: Json = None) -> None:
    """Show where a packed model's weights and bytes are, matrix by matrix."""
    from csbrnn.commands.inspect import inspect_model
    from csbrnn.model import load

    inspection = inspect_model(load(model))
    _console().print(inspection.sizes(), inspection.balance())
    write_result(json_file, inspection.to_dict())


@app.command()
def accuracy(
    model: ModelDir,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="A text file, or a .npy array (steps, features) or (steps,)."
        ),
    ],
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="To try. May be given several times. [fp32, bf16, int8]", show_default=False
        ),
    ] = None,
    keep_fp32: KeepFp32 = None,
    steps: Annotated[int, typer.Option(min=3, help="Most steps of INPUT to take.")] = 2000,
    json_file: Json = None,
) -> None:
    """Show what each precision costs a model in accuracy, on your own data.

    For a character model on a text, in bits per character. The first fifth of the data fixes the
    scales of static int8; errors are counted on the rest.
    """
    from csbrnn.commands.accuracy import measure_accuracy
    from csbrnn.model import load

    report = measure_accuracy(
        load(model),
        source,
        precisions=precision or ("fp32", "bf16", "int8"),
        keep_fp32=keep_fp32 or (),
        steps=steps,
    )
    _console().print(report.table())
    write_result(json_file, report.to_dict())


@app.command()
def run(
    model: ModelDir,
    source: Annotated[
        str,
        typer.Argument(
            metavar="[INPUT]",
            help="A text file, a .npy array (steps, features), or - for standard input.",
        ),
    ] = "",
    prompt: Annotated[str, typer.Option(help="Text to begin with, instead of INPUT.")] = "",
    generate: Annotated[
        int, typer.Option(min=0, help="Characters to generate after the text.")
    ] = 0,
    temperature: Annotated[float, typer.Option(min=0.0, help="0: always the likeliest.")] = 0.7,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            callback=check_writable, help="Write the outputs of all steps to this .npy file."
        ),
    ] = None,
    threads: Threads = 1,
    json_file: Json = None,
) -> None:
    """Run a packed model on text, an array, or numbers from standard input.

    A character model scores its text, and with --generate goes on from it. A model with float
    features takes a line of numbers a step and answers each line at once.
    """
    from csbrnn.commands.run import run_model
    from csbrnn.model import load
    from csbrnn.runtime import compile as compile_model

    packed = load(model)
    result = run_model(
        packed,
        compile_model(packed, threads=threads),
        source=source,
        prompt=prompt,
        length=generate,
        temperature=temperature,
        seed=seed,
        output=output,
    )
    write_result(json_file, result)


@app.command()
def bench(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Directory of a packed model, or a case's name.")
    ],
    layout: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a case's random weights: `dense`, or block and row group, and `all-or-nothing`"
            " if blocks stay whole. May be given several times. [block=16x64 row_group=16]",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="Of csbrnn's weights: fp32, bf16, int8. May be given several times. "
            "[all that the engine supports]",
            show_default=False,
        ),
    ] = None,
    contender: Annotated[
        list[str] | None,
        typer.Option(
            help="csbrnn, pytorch, pytorch-compiled (takes long to open), onnxruntime, openvino. "
            "May be given several times. [all but pytorch-compiled]",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(min=1, max=256, help="May be given several times. [1 and 2]")
    ] = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            help="What to time: step, sequence (100 steps a call), cold (a step with caches "
            "emptied before), matvec (csbrnn's products of a step alone). May be given several "
            "times. [step and matvec]",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Measuring time, about.")] = 20.0,
    cold: Annotated[
        bool, typer.Option("--cold", help="All modes, cold caches among them.")
    ] = False,
    json_file: Json = None,
) -> None:
    """Race a model's step against PyTorch, ONNX Runtime and OpenVINO at their best."""
    from csbrnn.bench import MODES
    from csbrnn.commands.bench import bench_model, check_own

    result = bench_model(
        model,
        layouts=layout or (),
        precisions=precision or (),
        contenders=contender or (),
        threads=threads or (1, 2),
        modes=MODES if cold else (mode or ()),
        seconds=seconds,
        console=_console(),
    )
    write_result(json_file, result)
    check_own(result)


@app.command()
def export(
    model: ModelDir,
    out: Annotated[
        Path, typer.Option(help="Folder to write: new, empty, or that of an earlier export.")
    ],
    name: Annotated[
        str, typer.Option(help="What files and C identifiers begin with: NAME_init, NAME_step, ..")
    ] = "model",
    weights: Annotated[
        str, typer.Option(help="`array`: constants in C. `binary`: NAME.bin, beside the code.")
    ] = "array",
    isa: Annotated[
        list[str] | None,
        typer.Option(
            help="Instruction set to keep: `baseline`, `avx2`, ..; may be given several times. "
            "Left out: all, and the best is chosen at run time."
        ),
    ] = None,
    json_file: Json = None,
) -> None:
    """Write a packed model as plain C, for use without Python.

    The runtime's sources, the weights, a header, an example, a Makefile and CMakeLists.txt. Prints
    the flash and RAM that they need; code is measured with the compiler that CC names.
    """
    from csbrnn.commands.export import export_model
    from csbrnn.model import load

    result = export_model(
        load(model), out, name=name, weights=weights, isas=isa or None, console=_console()
    )
    write_result(json_file, result)


@app.command()
def study(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE", help="TOML file: what to compare, and on which task."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for everything. [studies-out/NAME]", show_default=False),
    ] = None,
    data: Data = None,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes at a time.")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Threads of each.")] = 1,
    device: Device = "cpu",
    hours: Annotated[
        float | None, typer.Option(min=0.0, help="Stop after so long; to be gone on with later.")
    ] = None,
    timing: Annotated[
        bool, typer.Option("--time/--no-time", help="Race the packed networks at the end.")
    ] = True,
    known: Annotated[
        Path | None,
        typer.Option(
            help="result.json of an earlier run: what it has of this study is not trained again.",
            show_default=False,
        ),
    ] = None,
    json_file: Json = None,
) -> None:
    """Compare patterns, methods and rates on a task, as a recipe file says.

    Killed or interrupted, the same command goes on where it stopped.
    """
    from csbrnn.commands.study import run_study

    result = run_study(
        recipe,
        out=out,
        data=data,
        parallel=jobs,
        threads=threads,
        device=device,
        hours=hours,
        timing=timing,
        known=known,
        console=_console(),
    )
    write_result(json_file, result)


@app.command()
def search(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE", help="TOML file: task, pattern, method, first rate."),
    ],
    out: Annotated[Path, typer.Option(help="Directory for the log and the networks.")],
    data: Data = None,
    threads: TrainingThreads = 1,
    device: Device = "cpu",
    json_file: Json = None,
) -> None:
    """Find the highest pruning rate at no loss.

    Raises the rate while accuracy holds, then backs off and halves the step. Killed or
    interrupted, the same command goes on where it stopped.
    """
    from csbrnn.commands.search import run_search

    result = run_search(recipe, out, data=data, threads=threads, device=device, console=_console())
    write_result(json_file, result)


@app.command()
def explore(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="SPACE", help="TOML file: task, space, accuracy bound, budget."),
    ],
    out: Annotated[Path, typer.Option(help="Directory for networks, result and picture.")],
    storage: Annotated[
        str | None,
        typer.Option(
            help="Database that any number of workers share, such as "
            "`postgresql+psycopg://user@host/name`. [SQLite in OUT]",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    threads: TrainingThreads = 1,
    device: Device = "cpu",
    json_file: Json = None,
) -> None:
    """Find the networks worth deploying: cell, size, pattern, rate, precision.

    Trains under an accuracy bound against measured step time and bytes; ends with the Pareto front.
    Killed or interrupted, the same command goes on. Started twice, two processes share the work.
    """
    from csbrnn.commands.explore import run_explore

    result = run_explore(
        recipe,
        out,
        storage=storage,
        data=data,
        threads=threads,
        device=device,
        console=_console(),
    )
    write_result(json_file, result)


@app.command()
def report(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="result.json of a study.")],
    out: Annotated[Path, typer.Option(help="Directory for tables and pictures.")] = Path("."),
    json_file: Json = None,
) -> None:
    """Draw a study anew from its result file: tables in Markdown, pictures as PNG and HTML."""
    from csbrnn.commands.report import read_result, write_report

    data = read_result(result)
    write_report(data, out, _console())
    write_result(json_file, data)


def main() -> None:
    """Entry point: runs the command line and turns errors into one line and an exit status."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows another
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except CsbrnnError as error:
        _console(stderr=True).print(
            f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        sys.exit(1)
    except OSError as error:  # a full disk, a directory that went: not ours to explain further
        _console(stderr=True).print(
            f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        sys.exit(1)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    # Brackets in paths and messages are no markup.
    return Console(stderr=stderr, markup=False)
