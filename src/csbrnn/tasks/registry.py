"""Tasks by name, and as recipe files have them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from csbrnn.errors import ArgumentError
from csbrnn.tasks.char_lm import CharLMTask
from csbrnn.tasks.connected_digits import ConnectedDigits
from csbrnn.tasks.isolated_words import IsolatedWords
from csbrnn.tasks.labelled_arrays import LabelledArrays
from csbrnn.tasks.task import Task
from csbrnn.tasks.word_lm import WordLMTask

__all__ = ["TASKS", "task_from_dict", "task_to_dict"]

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (CharLMTask, WordLMTask, ConnectedDigits, IsolatedWords, LabelledArrays)
}
"""Every task by its name."""


def task_from_dict(table: Any, data: str | None = None) -> Task:
    """Builds a task from a table with its name and settings.

    Args:
        table: The table.
        data: Where the task's data lies, in place of what the table says.

    Raises:
        ArgumentError: It is no table, or its name or a setting is unknown.
    """
    if not isinstance(table, Mapping):
        raise ArgumentError(f"a task must be a table, not {table!r}")
    settings = dict(table) | ({} if data is None else {"data": data})
    name = settings.pop("name", None)
    if not isinstance(name, str) or name not in TASKS:
        raise ArgumentError(f"a task's name must be one of {', '.join(TASKS)}, not {name!r}")
    fields = {field.name: field.type for field in dataclasses.fields(TASKS[name])}  # type: ignore[arg-type]
    unknown = [key for key in settings if key not in fields]
    if unknown:
        raise ArgumentError(
            f"task {name!r} has the settings {', '.join(fields)}, and no "
            + ", ".join(map(repr, unknown))
        )
    return TASKS[name](**settings)


def task_to_dict(task: Task) -> dict[str, Any]:
    """Returns a task's name and settings as plain data."""
    return {"name": task.name} | dataclasses.asdict(task)  # type: ignore[call-overload, no-any-return]
