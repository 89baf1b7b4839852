"""Training tasks, one module each, found by name."""

from __future__ import annotations

import importlib
import pkgutil
from difflib import get_close_matches

from .task import Task


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks in alphabetical order."""
    return tuple(task.name for task in all_tasks())


def all_tasks() -> tuple[Task, ...]:
    """Return all tasks in alphabetical order: the `TASK` of each module of this folder."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    tasks = (getattr(_module(name), "TASK", None) for name in modules)
    return tuple(task for task in tasks if isinstance(task, Task))


def find_task(name: str) -> Task:
    """Return the task called `name`.

    Raises:
        ValueError: when there is none, naming the nearest one or all of them.
    """
    for task in all_tasks():
        if task.name == name:
            return task
    near = get_close_matches(name, task_names(), n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"tasks: {', '.join(task_names())}"
    raise ValueError(f"there is no task `{name}`; {hint}")


def _module(name: str) -> object:
    return importlib.import_module(f"{__name__}.{name}")
