"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["markdown_table"]


def markdown_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], align: str, text: str = ""
) -> str:
    """A table in Markdown.

    Args:
        headings: One for each column.
        rows: Cells, as many as columns.
        align: For each column "l" or "r"; the last is that of the columns that follow.
        text: What stands above.
    """
    sides = align.ljust(len(headings), align[-1])
    rules = ["---" if side == "l" else "---:" for side in sides]
    lines = [f"| {' | '.join(headings)} |", f"|{'|'.join(rules)}|"]
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    return f"{text}\n\n" * bool(text) + "\n".join(lines)
