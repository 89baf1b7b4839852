"""What a network can be trained on: one file a task, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from difflib import get_close_matches

from .task import Task


def task_names() -> tuple[str, ...]:
    """The names of all tasks, in alphabetical order."""
    return tuple(task.name for task in all_tasks())


def all_tasks() -> tuple[Task, ...]:
    """All tasks, in alphabetical order; a module of this folder is one when it defines `TASK`."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found = (getattr(_module(name), "TASK", None) for name in modules)
    return tuple(task for task in found if isinstance(task, Task))


def find_task(name: str) -> Task:
    """The task of a name.

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
