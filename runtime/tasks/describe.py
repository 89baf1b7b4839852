"""Tasks as `--json` prints them."""

from __future__ import annotations

from .task import Published, Task


def describe(task: Task) -> dict[str, object]:
    """A task as JSON has it."""
    return {
        "name": task.name,
        "summary": task.summary,
        "needs": task.needs,
        "metrics": list(task.metrics),
        "baseline": task.baseline,
        "file": task.file,
        "options": {
            name: {
                "default": option.default,
                "least": option.least,
                "most": option.most,
                "meaning": option.meaning,
            }
            for name, option in task.options.items()
        },
        "settings": dict(task.settings),
        "published": [describe_figure(figure) for figure in task.published],
    }


def describe_figure(figure: Published) -> dict[str, object]:
    """A published figure as JSON has it."""
    return {
        "model": figure.model,
        "value": figure.value,
        "source": figure.source,
        "certainty": figure.certainty,
    }
