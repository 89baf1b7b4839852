"""Convert tasks to the JSON that `--json` prints."""

from __future__ import annotations

from .task import PublishedResult, Task


def task_to_json(task: Task) -> dict[str, object]:
    """Convert a task to JSON values."""
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
                "least": option.minimum,
                "most": option.maximum,
                "meaning": option.meaning,
            }
            for name, option in task.options.items()
        },
        "settings": dict(task.settings),
        "published": [published_to_json(figure) for figure in task.published],
    }


def published_to_json(result: PublishedResult) -> dict[str, object]:
    """Convert a published result to JSON values."""
    return {
        "model": result.model,
        "value": result.value,
        "source": result.source,
        "certainty": result.certainty,
    }
