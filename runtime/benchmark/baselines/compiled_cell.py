"""The step compiled by `torch.compile`, in a Python loop over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from rnnc.runtime.benchmark.workload.candidate import Candidate, StepResult, Unavailable
from rnnc.runtime.benchmark.workload.workload import Workload

from .cell import Cell, extract_cell

Step = Callable[..., Sequence[Tensor]]


def compiled_cell(workload: Workload) -> Candidate:
    """Make the candidate of one compiled step for all layers, with a batched output layer."""
    cell = extract_cell(workload.graph)
    if workload.steps == 0:
        raise Unavailable("there are no steps")
    description = (
        "one step by torch.compile, in a loop in Python; the output layer for all steps at once"
    )
    if workload.device.type == "cuda":
        return cell_candidate(
            workload, cell, _cuda_graph_step(cell), "compiled-cell", f"{description}; CUDA graphs"
        )
    _require_dynamo()
    step: Step = torch.compile(cell.step, dynamic=False)
    return cell_candidate(workload, cell, step, "compiled-cell", description)


def _cuda_graph_step(cell: Cell) -> Step:
    """Compile a step with CUDA graphs; clone values that the next replay overwrites."""
    compiled: Step = torch.compile(cell.step, dynamic=False, mode="reduce-overhead")

    def step(*arguments: Tensor) -> Sequence[Tensor]:
        try:
            values = compiled(*arguments)
        except Exception as error:
            message = str(error).strip().partition("\n")[0]
            raise Unavailable(f"torch.compile fails: {type(error).__name__}: {message}") from None
        return values if torch.is_grad_enabled() else [value.clone() for value in values]

    return step


def eager_cell(workload: Workload) -> Candidate:
    """Make the same candidate without compilation."""
    cell = extract_cell(workload.graph)
    return cell_candidate(
        workload, cell, cell.step, "plain-cell", "one step in plain PyTorch, in a loop"
    )


def cell_candidate(
    workload: Workload, cell: Cell, step: Step, name: str, description: str
) -> Candidate:
    """Make a candidate that loops over a cell; `step` computes `cell.step`."""
    graph = workload.graph
    weights = {n: p.detach().clone() for n, p in workload.model.named_parameters()}
    learned = {p.name: weights[p.name].requires_grad_(not p.is_frozen) for p in graph.parameters}
    inputs = {v.node: workload.inputs[v.name] for v in graph.inputs}

    def run(*, training: bool) -> list[Tensor]:
        # All states require gradients in training, so that one compiled step fits all steps.
        initial = {
            state.node: _initial_state(workload, state.name, learned).requires_grad_(training)
            for state in graph.states
        }
        return cell.run(step, learned, inputs, initial)

    def forward() -> object:
        with torch.no_grad():
            return run(training=False)

    def train() -> list[Tensor]:
        for weight in learned.values():
            weight.grad = None
        outputs = run(training=True)
        torch.autograd.backward(outputs, workload.output_gradients)
        return outputs

    def answer() -> StepResult:
        outputs = tuple(output.detach() for output in train())
        return StepResult(outputs, {n: w.grad for n, w in learned.items() if w.grad is not None})

    return Candidate(name, description, forward, train, answer)


def _initial_state(workload: Workload, name: str, weights: Mapping[str, Tensor]) -> Tensor:
    state = next(state for state in workload.graph.states if state.name == name)
    shape = (workload.rows, state.type.size)
    if state.has_learned_initial_value:
        return weights[f"init.{name}"].expand(shape).contiguous()
    return torch.full(
        shape,
        state.initial_value.low,
        device=workload.device,
        dtype=workload.output_gradients[0].dtype,
    )


def _require_dynamo() -> None:
    from rnnc.compiler.backends.cpu.toolchain.c_compiler import find_toolchain
    from rnnc.grammar.diagnostics.errors import RnnError

    try:
        find_toolchain()
    except RnnError as error:
        raise Unavailable(error.diagnostics[0].message) from None
