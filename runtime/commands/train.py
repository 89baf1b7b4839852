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
from rnnc.runtime.training.settings.command_flags import OFF, task_option, training_options

if TYPE_CHECKING:
    from rnnc.runtime.training.interrupt import Interruption
    from rnnc.runtime.training.loop import Training

RESUMABLE = ("epochs", "patience")
"""What may be said anew with `--resume`: all else would be another run."""

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("file", required=False)
@click.option("--task", metavar="NAME", help="What to train it on: see `rnnc tasks`.")
@click.option(
    "--task-set",
    type=task_option,
    metavar="NAME=VALUE",
    multiple=True,
    help="Choose an option of the task; may be repeated.",
)
@set_option
@model_option
@click.option("--data", type=FOLDER, help="Folder of the data sets  [default: $RNNC_DATA]")
@click.option("--run", type=FOLDER, help="Folder of the run  [default: one made in `runs`]")
@click.option(
    "--resume",
    type=FOLDER,
    metavar="RUN",
    help="Go on with a run that was interrupted, or with other --epochs or --patience.",
)
@training_options
@click.pass_context
def command(context: click.Context, /, resume: Path | None, **given: Any) -> None:
    """Train FILE on a task, or go on with a run (`--resume RUN`).

    Training stops when the validation metric no longer gets better, and keeps the best weights;
    `rnnc eval RUN` scores them. Ctrl-C saves the state and says how to go on. Settings of the
    task's own (see `rnnc tasks`) come before the defaults below.
    """
    from rnnc.runtime.training.interrupt import InterruptedTrainingError, Interruption

    with Interruption() as interruption:
        if resume is None:
            training = _started(context, given, interruption)
        else:
            training = _resumed(context, resume, given, interruption)
        from rnnc.runtime.training.loop import train
        from rnnc.runtime.training.progress_bar import Display
        from rnnc.runtime.training.run_state.progress import reason_to_stop

        run = shlex.quote(str(training.run.folder))
        metric = training.metrics[0]
        click.echo(f"run {training.run.folder}")
        for line in _slower(training):
            click.echo(line)
        try:
            with Display(training.config.epochs) as display:
                progress = train(training, display)
        except (InterruptedTrainingError, KeyboardInterrupt):
            click.echo(f"interrupted; go on with: rnnc train --resume {run}", err=True)
            context.exit(130)
    click.echo(
        f"best valid {metric} {progress.best:.4f} in epoch {progress.best_epoch} of "
        f"{progress.epoch}, {progress.seconds:.0f} s "
        f"({reason_to_stop(training.config, progress)})"
    )
    click.echo(f"score it with: rnnc eval {run}")


def _slower(training: Training) -> Iterator[str]:
    """Why a faster backend does not run the model, if that is this machine's fault."""
    model = training.model
    like = next(model.parameters()).detach()
    for name, reason in model.backends.passed_over(like).items():
        if name not in model.backends.refused:
            yield f"backend {model.backend}, which is slower, not {name}: {reason}"


def _started(context: click.Context, given: dict[str, Any], interruption: Interruption) -> Training:
    """A new training, from the command line's options."""
    from rnnc.operators.sources.spec_file import read_spec
    from rnnc.runtime.tasks import find_task
    from rnnc.runtime.training.settings.command_flags import configured

    if given["file"] is None:
        raise click.UsageError("name a FILE to train, or a run with --resume", context)
    if given["task"] is None:
        raise click.UsageError("name a task with --task; `rnnc tasks` lists them", context)
    try:
        task = find_task(given["task"])
        options = task.choose(dict(given["task_set"]))
    except ValueError as error:
        raise click.UsageError(str(error), context) from None
    config = configured(task.settings, given)

    from rnnc.compiler.backends.registry import BACKENDS

    if config.backend not in ("auto", *BACKENDS):
        known = ", ".join(("auto", *BACKENDS))
        message = f"there is no backend `{config.backend}` here; backends: {known}"
        raise click.UsageError(message, context)
    source = read_spec(given["file"])

    from rnnc.runtime.training.session import start

    return start(
        source,
        task,
        options,
        config,
        model=given["model"],
        parameters=given["parameters"],
        data=given["data"],
        folder=given["run"],
        interruption=interruption,
    )


def _resumed(
    context: click.Context, run: Path, given: dict[str, Any], interruption: Interruption
) -> Training:
    """The training of a run, where it was left."""
    said = {name for name, value in given.items() if value not in (None, (), {})}
    for parameter in context.command.params:
        if parameter.name in said - {*RESUMABLE, "data"}:
            flag = parameter.opts[0] if isinstance(parameter, click.Option) else "FILE"
            message = f"--resume goes on with what the run was begun with: `{flag}` cannot be given"
            raise click.UsageError(message, context)
    changes = {name: None if given[name] == OFF else given[name] for name in said - {"data"}}

    from rnnc.runtime.training.session import resume

    return resume(run, changes, data=given["data"], interruption=interruption)
