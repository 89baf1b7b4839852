"""Compare a call with the same call in partitions: step by step, in parts, and row by row.

If a call in training draws random numbers or adds a loss, calls in evaluation are compared.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.graph.carry import carry_entries

from .call_results import (
    GRADIENT,
    OUTPUT,
    STATE,
    CallResults,
    call_module,
    differentiable_tensors,
    evaluate,
    results_by_name,
    score_gradients,
    score_weights,
)
from .cases import Case
from .mismatch import describe_mismatch, find_non_finite, tolerance_of
from .outcome import Outcome, outcome_of_mismatch
from .random_arguments import Arguments, draw_arguments
from .subject import ExecutionTarget, Subject


def check_step_by_step(subject: Subject, target: ExecutionTarget, case: Case) -> Outcome:
    """Compare steps and whole calls without gradients with the reference's whole call.

    Each runs three times, because a call like an earlier one may be replayed.
    """
    arguments = draw_arguments(subject.module_for(target), case)
    with torch.no_grad():
        expected = evaluate(
            subject.module_for(replace(target, backend="reference")).eval(), arguments
        )
        non_finite = find_non_finite(expected)
        if non_finite:
            return Outcome("aside", f"{non_finite} is no number on the reference")
        model, tolerance = subject.module_for(target).eval(), tolerance_of(target.dtype)
        for _ in range(3):
            mismatch = describe_mismatch(evaluate(model, arguments), expected, tolerance)
            mismatch = mismatch or describe_mismatch(
                _run_steps(model, arguments, case.steps), expected, tolerance
            )
            if mismatch:
                return outcome_of_mismatch(mismatch)
    return Outcome("right")


def check_parts(subject: Subject, target: ExecutionTarget, case: Case) -> Outcome:
    """Compare a sequence in parts, each continued from the state before, with the whole call."""
    model = _deterministic_module(subject, target)
    arguments = draw_arguments(model, case)
    whole = evaluate(model, arguments)
    weights, wrt = score_weights(whole), differentiable_tensors(model, arguments)
    expected = whole | score_gradients(whole, weights, wrt)
    non_finite = find_non_finite(expected)
    if non_finite:
        return Outcome("aside", f"{non_finite} is no number in the whole call")
    cuts = sorted({0, max(1, case.steps // 3), case.steps - 1, case.steps})
    actual = _run_parts(model, arguments, cuts)
    actual |= score_gradients(actual, weights, wrt)
    return outcome_of_mismatch(
        describe_mismatch(actual, expected, tolerance_of(target.dtype), "the whole call")
    )


def check_rows_alone(subject: Subject, target: ExecutionTarget, case: Case) -> Outcome:
    """Compare each row, as a batch of its own and of its own length, with the whole batch."""
    model = _deterministic_module(subject, target)
    arguments = draw_arguments(model, case)
    batch = evaluate(model, arguments)
    weights = score_weights(batch)
    expected = batch | score_gradients(batch, weights, differentiable_tensors(model, arguments))
    non_finite = find_non_finite(expected)
    if non_finite:
        return Outcome("aside", f"{non_finite} is no number in the batch")
    tolerance, oracle = tolerance_of(target.dtype), "the whole batch"
    parameter_gradients = {GRADIENT + name for name, _ in model.named_parameters()} & set(expected)
    total = {name: torch.zeros_like(expected[name]) for name in parameter_gradients}
    for row in range(case.rows):
        steps = case.steps if arguments.lengths is None else int(arguments.lengths[row])
        row_arguments = _row_arguments(model, arguments, row, steps)

        def of_row(results: CallResults, row: int = row, steps: int = steps) -> CallResults:
            unshared = {
                name: value for name, value in results.items() if name not in parameter_gradients
            }
            return {n: _row_slice(model, n, value, row, steps) for n, value in unshared.items()}

        row_results = evaluate(model, row_arguments)
        row_results |= score_gradients(
            row_results, of_row(weights), differentiable_tensors(model, row_arguments)
        )
        mismatch = describe_mismatch(row_results, of_row(expected), tolerance, oracle)
        if mismatch:
            return Outcome("wrong", f"row {row} alone: {mismatch}")
        total = {name: value + row_results[name] for name, value in total.items()}
    mismatch = describe_mismatch(
        total, {name: expected[name] for name in parameter_gradients}, tolerance, oracle
    )
    return outcome_of_mismatch(f"all rows alone: {mismatch}" if mismatch else "")


def _deterministic_module(subject: Subject, target: ExecutionTarget) -> CompiledRNN:
    """Return a module whose rows and steps depend on each other only through its states."""
    return subject.module_for(target).train(not subject.draws_in_training)


def _run_steps(model: CompiledRNN, arguments: Arguments, steps: int) -> CallResults:
    """Run step by step: by `step`, or by calls of one step if there are resets."""
    if arguments.resets is not None:
        return _run_parts(model, arguments, list(range(steps + 1)))
    step_results: list[CallResults] = []
    state = arguments.state
    for t in range(steps):
        y, state = model.step({name: value[t] for name, value in arguments.x.items()}, state)
        step_results.append(results_by_name(model, y, state, step=True))
    return _concatenate_results(model, step_results)


def _run_parts(model: CompiledRNN, arguments: Arguments, cuts: list[int]) -> CallResults:
    part_results: list[CallResults] = []
    state = arguments.state
    for a, b in pairwise(cuts):
        x = {name: value[a:b] for name, value in arguments.x.items()}
        resets = None if arguments.resets is None else arguments.resets[a:b]
        y, state = call_module(model, replace(arguments, x=x, state=state, resets=resets))
        part_results.append(results_by_name(model, y, state))
    return _concatenate_results(model, part_results)


def _concatenate_results(model: CompiledRNN, parts: list[CallResults]) -> CallResults:
    series = {OUTPUT + output.name for output in model.graph.outputs if not output.at_end}
    return {
        name: torch.cat([part[name] for part in parts]) if name in series else value
        for name, value in parts[-1].items()
    }


def _row_arguments(model: CompiledRNN, arguments: Arguments, row: int, steps: int) -> Arguments:
    """Return the arguments of one row; for an empty row, a step past its length."""

    def own(name: str, value: Tensor) -> Tensor:
        row_value = _row_slice(model, name, value, row, steps).detach().clone()
        return row_value.requires_grad_(value.requires_grad)

    state: Any = arguments.state
    if state is not None:
        named = state._asdict()
        state = type(state)(*(own(STATE + name, value) for name, value in named.items()))
    return Arguments(
        {name: own("", value) for name, value in arguments.x.items()},
        state,
        None if steps else torch.zeros_like(arguments.lengths[:1]),  # type: ignore[index]
        None if arguments.resets is None else own("", arguments.resets),
    )


def _row_slice(model: CompiledRNN, name: str, value: Tensor, row: int, steps: int) -> Tensor:
    """Return one row of a value, or of its gradient, up to the row's length."""
    name = name.removeprefix(GRADIENT)
    if name.startswith(STATE):
        fields = dict(zip(model.initial_state(1)._fields, carry_entries(model.graph), strict=True))
        has_step_axis = fields[name.removeprefix(STATE)].steps > 1
        return value.narrow(1 if has_step_axis else 0, row, 1)
    at_end = {OUTPUT + output.name for output in model.graph.outputs if output.at_end}
    if name in at_end:
        return value.narrow(0, row, 1)
    return value[: max(1, steps), row : row + 1]
