"""Create a training session from a spec, or from a run's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch

from rnnc.compiler.api import compile_program
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.grammar.diagnostics.errors import fail
from rnnc.grammar.source import Source
from rnnc.grammar.version import __version__
from rnnc.runtime.tasks import find_task
from rnnc.runtime.tasks.task import Problem, Task
from rnnc.runtime.training.run_state.checkpoint import (
    ChosenTask,
    Header,
    StoredProgram,
    load_weights,
    read_checkpoint,
)
from rnnc.runtime.training.run_state.progress import Progress
from rnnc.runtime.training.run_state.run_folder import create_run, open_run
from rnnc.runtime.training.run_state.state_tensors import make_optimizer, unpack_state
from rnnc.runtime.training.settings.training_config import TrainingConfig

from .interrupt import InterruptHandler
from .loop import TrainingSession
from .size_binding import bind_program
from .task_compatibility import check_compatibility
from .thread_count import limit_threads


def start_training(
    source: Source,
    task: Task,
    options: Mapping[str, int],
    config: TrainingConfig,
    *,
    model: str | None,
    parameters: Mapping[str, int | float],
    data: Path | None,
    folder: Path | None,
    interrupt_handler: InterruptHandler,
) -> TrainingSession:
    """Start a new training of a spec; create its folder last, after all checks.

    Raises:
        RnnError: for a spec that does not compile or match the task, missing or broken data, and a
            folder that already holds a run.
    """
    problem = task.open(options, data)
    torch.manual_seed(config.seed)
    program = bind_program(source, model, parameters, problem.parameters)
    network = compile_program(program, backend=config.backend)
    limit_threads(network.graph, config.batch_size)
    check_compatibility(task, problem, network.graph)
    header = Header(
        version=__version__,
        program=StoredProgram.from_program(network.program),
        config=config,
        task=ChosenTask(task.name, dict(options)),
        progress=Progress(),
    )
    optimizer = make_optimizer(network, config)
    train_split, valid_split = problem.load_split("train"), problem.load_split("valid")
    return TrainingSession(
        model=network,
        optimizer=optimizer,
        problem=problem,
        train_split=train_split,
        valid_split=valid_split,
        metrics=task.metrics,
        header=header,
        run=create_run(folder, network.graph.name, task.name),
        interrupt_handler=interrupt_handler,
    )


def resume_training(
    folder: Path,
    changes: Mapping[str, int | None],
    *,
    data: Path | None,
    interrupt_handler: InterruptHandler,
) -> TrainingSession:
    """Resume the training of a run; `changes` are other `epochs` or `patience`.

    Raises:
        RnnError: for a folder without a run, a broken or mismatched checkpoint, and missing or
            broken data.
    """
    run = open_run(folder)
    header, tensors = read_checkpoint(run.last_checkpoint)
    header = msgspec.structs.replace(
        header, config=msgspec.structs.replace(header.config, **changes)
    )
    model, task, problem = restore_from_header(
        header, run.last_checkpoint, data, backend=header.config.backend
    )
    optimizer = make_optimizer(model, header.config)
    unpack_state(tensors, model, optimizer, header.config.optimizer, run.last_checkpoint)
    train_split, valid_split = problem.load_split("train"), problem.load_split("valid")
    batches = -(-len(train_split) // header.config.batch_size)
    if header.progress.batch > batches:
        fail(
            "RNN631",
            f"the checkpoint `{run.last_checkpoint}` cannot be used: it has done "
            f"{header.progress.batch} batches of an epoch, and the data make {batches}",
            hint="go on with the data that the run was begun with",
        )
    run.truncate_metrics(header.progress.epoch)
    return TrainingSession(
        model=model,
        optimizer=optimizer,
        problem=problem,
        train_split=train_split,
        valid_split=valid_split,
        metrics=task.metrics,
        header=header,
        run=run,
        interrupt_handler=interrupt_handler,
    )


def restore_from_header(
    header: Header, path: Path, data: Path | None, *, backend: str
) -> tuple[CompiledRNN, Task, Problem]:
    """Build the network (freshly initialized), task and problem of a checkpoint's header."""
    try:
        task = find_task(header.task.name)
        options = task.resolve_options(header.task.options)
    except ValueError as error:
        fail("RNN631", f"the checkpoint `{path}` cannot be used: {error}")
    problem = task.open(options, data)
    torch.manual_seed(header.config.seed)
    model = compile_program(header.program.to_program(), backend=backend)
    limit_threads(model.graph, header.config.batch_size)
    check_compatibility(task, problem, model.graph)
    return model, task, problem


def load_trained(path: Path, data: Path | None) -> tuple[CompiledRNN, Task, Problem, Header]:
    """Load a run's best network from its checkpoint; `path` is the run or the checkpoint file.

    Raises:
        RnnError: RNN630 if there is none yet, and as `resume_training`.
    """
    checkpoint = path
    if not path.is_file():
        run = open_run(path)
        checkpoint = run.best_checkpoint
        if not checkpoint.is_file():
            fail(
                "RNN630",
                f"`{path}` has no trained weights yet: it was left before its first validation",
                hint=f"go on with `rnnc train --resume {path}`",
            )
    header, weights = read_checkpoint(checkpoint)
    model, task, problem = restore_from_header(header, checkpoint, data, backend="auto")
    load_weights(model, weights, checkpoint)
    return model, task, problem, header
