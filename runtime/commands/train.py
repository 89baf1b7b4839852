"""Train a model on a task.

The run's folder gets a metrics file, the best weights, and the state that `--resume` goes on from.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnnc.runtime.options import model_option, set_option
from rnnc.runtime.training.settings.command_flags import (
    OFF_VALUE,
    parse_task_option,
    training_options,
)

if TYPE_CHECKING:
    from rnnc.runtime.training.interrupt import InterruptHandler
    from rnnc.runtime.training.loop import TrainingSession

RESUME_OPTIONS = ("epochs", "patience")
"""Options that may change with `--resume`; any other change would be a new run."""

FOLDER_TYPE = click.Path(path_type=Path)


@click.command()
@click.argument("file", required=False)
@click.option("--task", metavar="NAME", help="What to train it on: see `rnnc tasks`.")
@click.option(
    "--task-set",
    type=parse_task_option,
    metavar="NAME=VALUE",
    multiple=True,
    help="Choose an option of the task; may be repeated.",
)
@set_option
@model_option
@click.option("--data", type=FOLDER_TYPE, help="Folder of the data sets  [default: $RNNC_DATA]")
@click.option("--run", type=FOLDER_TYPE, help="Folder of the run  [default: one made in `runs`]")
@click.option(
    "--resume",
    type=FOLDER_TYPE,
    metavar="RUN",
    help="Go on with a run that was interrupted, or with other --epochs or --patience.",
)
@training_options
@click.pass_context
def command(context: click.Context, /, resume: Path | None, **options: Any) -> None:
    """Train FILE on a task, or go on with a run (`--resume RUN`).

    Training stops when the validation metric no longer gets better, and keeps the best weights;
    `rnnc eval RUN` scores them. Ctrl-C saves the state and says how to go on. Settings of the
    task's own (see `rnnc tasks`) come before the defaults below.
    """
    from rnnc.runtime.training.interrupt import InterruptedTrainingError, InterruptHandler

    with InterruptHandler() as interrupt_handler:
        if resume is None:
            session = _start_from_spec(context, options, interrupt_handler)
        else:
            session = _resume_run(context, resume, options, interrupt_handler)
        from rnnc.runtime.training.loop import train
        from rnnc.runtime.training.progress_bar import ProgressBar
        from rnnc.runtime.training.run_state.progress import stop_reason

        run = shlex.quote(str(session.run.folder))
        metric = session.metrics[0]
        click.echo(f"run {session.run.folder}")
        for line in _slower_backend_lines(session):
            click.echo(line)
        try:
            with ProgressBar(session.config.epochs) as progress_bar:
                progress = train(session, progress_bar)
        except (InterruptedTrainingError, KeyboardInterrupt):
            click.echo(f"interrupted; go on with: rnnc train --resume {run}", err=True)
            context.exit(130)
    click.echo(
        f"best valid {metric} {progress.best:.4f} in epoch {progress.best_epoch} of "
        f"{progress.epoch}, {progress.seconds:.0f} s "
        f"({stop_reason(session.config, progress)})"
    )
    click.echo(f"score it with: rnnc eval {run}")


def _slower_backend_lines(session: TrainingSession) -> Iterator[str]:
    """Yield a line for each faster backend that this machine cannot run."""
    model = session.model
    example = next(model.parameters()).detach()
    for name, reason in model.backends.skip_reasons(example).items():
        if name not in model.backends.unsupported:
            yield f"backend {model.backend}, which is slower, not {name}: {reason}"


def _start_from_spec(
    context: click.Context, arguments: dict[str, Any], interrupt_handler: InterruptHandler
) -> TrainingSession:
    """Start a new training from the command line's options."""
    from rnnc.operators.sources.spec_file import read_spec
    from rnnc.runtime.tasks import find_task
    from rnnc.runtime.training.settings.command_flags import build_config

    if arguments["file"] is None:
        raise click.UsageError("name a FILE to train, or a run with --resume", context)
    if arguments["task"] is None:
        raise click.UsageError("name a task with --task; `rnnc tasks` lists them", context)
    try:
        task = find_task(arguments["task"])
        options = task.resolve_options(dict(arguments["task_set"]))
    except ValueError as error:
        raise click.UsageError(str(error), context) from None
    config = build_config(task.settings, arguments)

    from rnnc.compiler.backends.registry import BACKENDS

    if config.backend not in ("auto", *BACKENDS):
        known = ", ".join(("auto", *BACKENDS))
        message = f"there is no backend `{config.backend}` here; backends: {known}"
        raise click.UsageError(message, context)
    source = read_spec(arguments["file"])

    from rnnc.runtime.training.session import start_training

    return start_training(
        source,
        task,
        options,
        config,
        model=arguments["model"],
        parameters=arguments["parameters"],
        data=arguments["data"],
        folder=arguments["run"],
        interrupt_handler=interrupt_handler,
    )


def _resume_run(
    context: click.Context,
    run: Path,
    arguments: dict[str, Any],
    interrupt_handler: InterruptHandler,
) -> TrainingSession:
    """Resume the training of a run from its last state."""
    given_names = {name for name, value in arguments.items() if value not in (None, (), {})}
    for parameter in context.command.params:
        if parameter.name in given_names - {*RESUME_OPTIONS, "data"}:
            flag = parameter.opts[0] if isinstance(parameter, click.Option) else "FILE"
            message = f"--resume goes on with what the run was begun with: `{flag}` cannot be given"
            raise click.UsageError(message, context)
    changes = {
        name: None if arguments[name] == OFF_VALUE else arguments[name]
        for name in given_names - {"data"}
    }

    from rnnc.runtime.training.session import resume_training

    return resume_training(
        run, changes, data=arguments["data"], interrupt_handler=interrupt_handler
    )
