"""The verbs of ``csbrnn hw``: arguments only. What they do is in `csbrnn.commands`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from csbrnn.commands.output_file import Json, check_writable, write_result
from csbrnn.errors import ArgumentError

if TYPE_CHECKING:
    from rich.console import Console

    from csbrnn.accelerator import Arch
    from csbrnn.model import PackedModel

__all__ = ["hw"]

hw = typer.Typer(
    name="hw",
    help="The accelerator: compile a model for it, simulate it, prove and build the hardware.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Directory of a packed model, or `sr` or `mt`: the CSB-RNN paper's networks with "
        "random weights.",
    ),
]
ArchName = Annotated[
    str, typer.Option("--arch", help="`pe16`, `pe64`, `pe256`, `pe512`, or a TOML file.")
]
RowGroup = Annotated[
    int | None,
    typer.Option(
        min=1, help="Of `sr` and `mt`, pattern csb: rows kept together. [4]", show_default=False
    ),
]
Block = Annotated[
    str | None,
    typer.Option(help="Of `sr` and `mt`: block rows x columns. [32x32]", show_default=False),
]
Rate = Annotated[
    float | None,
    typer.Option(min=1.0, help="Of `sr` and `mt`: pruning rate. [the paper's]", show_default=False),
]
Pattern = Annotated[
    str,
    typer.Option(
        help="Of `sr` and `mt`: `csb`, `banks` (bank-balanced) or `blocks` (whole blocks).",
    ),
]
InputRange = Annotated[
    float, typer.Option(min=2.0**-15, help="Largest magnitude of input features.")
]


@hw.command("compile")
def compile_(
    model: Model,
    arch: ArchName = "pe256",
    row_group: RowGroup = None,
    block: Block = None,
    rate: Rate = None,
    pattern: Pattern = "csb",
    input_range: InputRange = 8.0,
    assembly: Annotated[
        Path | None, typer.Option(help="Write the program here instead of printing it.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Compile a model to a program and to the memories of the accelerator."""
    from csbrnn.commands.hw_compile import compile_hw

    packed, machine = _load(model, arch, row_group, block, rate, pattern)
    result = compile_hw(
        packed, machine, console=_console(), assembly=assembly, input_range=input_range
    )
    write_result(json_file, {"model": model, **result})


@hw.command()
def simulate(
    model: Model,
    arch: ArchName = "pe256",
    row_group: RowGroup = None,
    block: Block = None,
    rate: Rate = None,
    pattern: Pattern = "csb",
    input_range: InputRange = 8.0,
    steps: Annotated[
        int, typer.Option(min=0, help="Steps of random input to compute to the bit.")
    ] = 4,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines/--no-baselines",
            help="Model the paper's lock-step engine, and ours unbalanced, too.",
        ),
    ] = True,
    timeline: Annotated[
        Path | None,
        typer.Option(
            callback=check_writable,
            help="PNG: groups busy and idle, loads before and after balancing.",
        ),
    ] = None,
    json_file: Json = None,
) -> None:
    """Simulate a model to the bit, and model its cycles exactly."""
    from csbrnn.commands.hw_simulate import simulate_hw

    packed, machine = _load(model, arch, row_group, block, rate, pattern)
    result = simulate_hw(
        packed,
        machine,
        console=_console(),
        steps=steps,
        compare=baselines,
        picture=timeline,
        input_range=input_range,
    )
    write_result(json_file, {"model": model, **result})


@hw.command()
def verify(
    model: Model,
    arch: ArchName = "pe256",
    row_group: RowGroup = None,
    block: Block = None,
    rate: Rate = None,
    input_range: InputRange = 8.0,
    steps: Annotated[int, typer.Option(min=1, help="Steps of random input.")] = 3,
    simulator: Annotated[
        list[str] | None,
        typer.Option(
            help="`amaranth`, `cxxrtl`, `verilator` or `cocotb`; repeatable. [cxxrtl]",
            show_default=False,
        ),
    ] = None,
    gaps: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=0.99,
            help="Share of cycles in which the host offers no input and takes no output; then "
            "cycles aren't compared.",
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of inputs and gaps.")] = 0,
    max_deviation: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="How far the integers may be from float64, as a share of the largest output. "
            "Beyond, the hardware is right to the bit and still doesn't compute the network: "
            "values saturate or drown.",
        ),
    ] = 0.25,
    json_file: Json = None,
) -> None:
    """Run a model in simulators of the RTL: every bit, and every cycle, must be as computed."""
    from csbrnn.commands.hw_verify import verify_hw

    packed, machine = _load(model, arch, row_group, block, rate)
    result = verify_hw(
        packed,
        machine,
        console=_console(),
        steps=steps,
        simulators=simulator or (),
        input_range=input_range,
        gaps=gaps,
        seed=seed,
        max_deviation=max_deviation,
    )
    write_result(json_file, {"model": model, **result})
    if not (result["agrees"] and result["float_deviation"]["within"]):
        raise typer.Exit(1)


@hw.command()
def verilog(
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    arch: ArchName = "pe256",
    row_group: RowGroup = None,
    block: Block = None,
    rate: Rate = None,
    input_range: InputRange = 8.0,
    steps: Annotated[int, typer.Option(min=1, help="Steps that the testbench runs.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of the inputs.")] = 0,
    json_file: Json = None,
) -> None:
    """Write the accelerator as Verilog, with a self-checking testbench and memory images."""
    from csbrnn.commands.hw_verilog import verilog_hw

    packed, machine = _load(model, arch, row_group, block, rate)
    result = verilog_hw(
        packed,
        machine,
        out,
        console=_console(),
        steps=steps,
        input_range=input_range,
        seed=seed,
    )
    write_result(json_file, {"model": model, **result})


@hw.command()
def synth(
    model: Model,
    arch: ArchName = "pe16",
    row_group: RowGroup = None,
    block: Block = None,
    rate: Rate = None,
    input_range: InputRange = 8.0,
    family: Annotated[str, typer.Option(help="`ecp5`, or `xilinx` (UltraScale+).")] = "ecp5",
    pnr: Annotated[
        bool, typer.Option("--pnr", help="Place and route, too: ECP5 only; takes minutes.")
    ] = False,
    clock: Annotated[
        float | None,
        typer.Option(min=1.0, metavar="MHZ", help="For times. [what --pnr finds, or assumed]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the placer.")] = 1,
    seeds: Annotated[
        int, typer.Option(min=1, help="Seeds to place with, from --seed on; the best one counts.")
    ] = 1,
    json_file: Json = None,
) -> None:
    """Synthesize the accelerator: what it takes, and how long a model's step is there."""
    from csbrnn.commands.hw_synth import synth_hw

    if seeds > 1 and not pnr:
        raise ArgumentError("--seeds are of the placer: they go with --pnr")
    packed, machine = _load(model, arch, row_group, block, rate)
    result = synth_hw(
        packed,
        machine,
        console=_console(),
        family=family,
        pnr=pnr,
        clock_mhz=clock,
        seeds=range(seed, seed + seeds),
        input_range=input_range,
    )
    write_result(json_file, {"model": model, **result})


def _load(
    model: str,
    arch: str,
    row_group: int | None,
    block: str | None,
    rate: float | None,
    pattern: str = "csb",
) -> tuple[PackedModel, Arch]:
    from csbrnn.accelerator import load_arch
    from csbrnn.commands.hw_model import load_hw_model

    machine = load_arch(arch)
    return load_hw_model(
        model, row_group=row_group, block=block, rate=rate, pattern=pattern
    ), machine


def _console() -> Console:
    from rich.console import Console

    return Console(markup=False)  # brackets in paths and messages are none
