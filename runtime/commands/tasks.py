"""List the tasks that a network can be trained on.

Each with what a spec must have, its metrics, its options, and the figures to compare with.
"""

from __future__ import annotations

import click

from rnnc.runtime.options import json_option


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List the tasks that a network can be trained on."""
    from rnnc.runtime.data.location import data_folder
    from rnnc.runtime.print_diagnostics import print_json
    from rnnc.runtime.tasks import all_tasks
    from rnnc.runtime.tasks.describe import task_to_json

    tasks = [
        (task, task.file is None or (data_folder() / task.file).is_file()) for task in all_tasks()
    ]
    if as_json:
        print_json(
            {"tasks": [{**task_to_json(task), "available": available} for task, available in tasks]}
        )
        return
    for task, available in tasks:
        click.echo(f"{task.name}: {task.summary}")
        click.echo(f"  needs      {task.needs}")
        click.echo(f"  metrics    {', '.join(task.metrics)}")
        click.echo(f"  baseline   {task.baseline}")
        if task.file:
            click.echo(f"  data       {task.file} ({'found' if available else 'not found'})")
        for name, option in task.options.items():
            click.echo(f"  option     {name}={option.default}, {option.meaning}")
        for name, value in task.settings.items():
            click.echo(f"  setting    {name} {'off' if value is None else value}")
        for figure in task.published:
            click.echo(f"  published  {figure.model} {figure.value:g}, {figure.source}")
