"""``csbrnn export``: a packed model as a folder of plain C, and what it needs on a device."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from csbrnn.model import PackedModel
from csbrnn.runtime.export import Weights, export_c

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["export_model"]


def export_model(
    model: PackedModel,
    out: Path,
    *,
    name: str,
    weights: str,
    isas: Sequence[str] | None,
    console: Console,
) -> dict[str, Any]:
    """Exports, prints what was written and what it needs, and returns it as JSON-able values.

    Code size and stack are measured with the compiler that the environment variable CC names, or
    with ``cc``, where there is one.

    Args:
        model: The packed model.
        out: Folder to write.
        name: What C identifiers begin with.
        weights: "array" or "binary"; anything else is refused by `export_c`.
        isas: Instruction sets to keep; None for all.
        console: Where the table goes.
    """
    from rich.table import Table

    compiler = os.environ.get("CC") or "cc"
    export = export_c(
        model, out, name=name, weights=cast(Weights, weights), isas=isas, compiler=compiler
    )
    table = Table(title=f"{export.folder}: {len(export.files)} files, {export.name}.h first")
    table.add_column("what it needs", overflow="fold")
    table.add_column("where")
    table.add_column("bytes", justify="right")
    table.add_column("how that is known", overflow="fold")
    for row in export.figures():
        table.add_row(*row)
    console.print(table)
    if export.footprint is None:
        console.print(
            f"Code and stack were not measured: `{compiler}` can't compile it. Set CC to a C"
            " compiler.",
            markup=False,
            highlight=False,
        )
    return export.to_dict()
