"""Entry points of `rnnc verify` and `rnnc.verify`: check a model on this machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import torch

from rnnc.compiler.backends.registry import AUTO_ORDER, Backends
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.compiler.module.parameters import collect_parameters
from rnnc.grammar.diagnostics.errors import RnnError, fail
from rnnc.operators.graph.operator_graph import OperatorGraph

from .budget import Budget
from .cases import CASES, Case, parse_case
from .check_list import build_checks
from .check_runner import ReproduceCommand, StartCallback, describe_exception, run_checks
from .random_arguments import draw_weights, like_of
from .report import Finding, FindingStatus, Report
from .subject import ExecutionTarget, Subject

DEFAULT_SECONDS: Final = 10.0


def verify(
    model: CompiledRNN, *, seconds: float = DEFAULT_SECONDS, case: str | None = None
) -> Report:
    """Check a compiled module as it is: its weights, its device, dtype and backend.

    It is held against the reference with the same weights, and its gradients against finite
    differences; the module itself is not called, and nothing of it changes, nor do torch's random
    generators.

    Args:
        model: a module made by `rnnc.compile`.
        seconds: the budget of CPU seconds; the report names checks that were not reached.
        case: one kind of call, as a report writes it (`T=3,B=2,lengths,carry`); by default, all.

    Returns:
        A report that prints as lines, and is false where something is off: it does not raise, so
        write `report = rnnc.verify(model); assert report, report`.

    Raises:
        ValueError: when an argument is not as above.
    """
    if not isinstance(model, CompiledRNN):
        got = type(model).__name__
        raise ValueError(f"model: expected a module that rnnc.compile made, got {got}")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise ValueError(f"seconds: expected a number above 0, got {seconds!r}")
    cases = CASES if case is None else (parse_case(case),)
    like = like_of(model)
    if like.is_meta:
        raise ValueError("model: expected one on a device with numbers, got one on meta")
    budget = Budget(seconds if math.isfinite(seconds) else 1e9)
    values = collect_parameters(model, model.graph)
    subject = Subject(
        model.graph,
        {name: value.detach().double() for name, value in values.items()},
        frozenset(name for name, value in values.items() if value.requires_grad),
        module_backends=model.backends,
        batch_first=model.batch_first,
    )
    target = ExecutionTarget(model.backend, like.device, like.dtype)
    findings = run_checks(
        build_checks(subject, (target,), cases),
        budget,
        lambda name: None,
        lambda target, case: f'rnnc.verify(model, case="{case}")',
    )
    return Report(model.graph.name, tuple(findings), budget.elapsed())


class Verification:
    """Verification of a spec with random weights, on every backend of this machine."""

    def __init__(
        self,
        graph: OperatorGraph,
        *,
        backends: Sequence[str] = (),
        cases: Sequence[Case] = CASES,
        seconds: float = DEFAULT_SECONDS,
        since: float | None = None,
    ) -> None:
        """Find the available backends.

        backends: their names; by default all.
        since: from which `cpu_seconds` on the time counts; by default from now.

        Raises:
            RnnError: RNN501, when one that is named cannot run the graph here.
        """
        self.graph = graph
        self._budget = Budget(seconds, since)
        self._cases = tuple(cases)
        self._targets: list[ExecutionTarget] = []
        self._unchecked: list[Finding] = []
        for name in backends or [name for name in AUTO_ORDER if name != "reference"]:
            try:
                targets, reason = _supported_targets(graph, name)
            except Exception as error:  # a model that fails to compile shows a bug of the compiler
                self._unchecked.append(
                    _finding_without_case(name, "failed", describe_exception(error))
                )
                continue
            if backends and not targets:
                fail("RNN501", f"backend `{name}` cannot run `{graph.name}` here: {reason}")
            self._targets += [target for target in targets if target not in self._targets]
            if not targets:
                self._unchecked.append(_finding_without_case(name, "skipped", reason))

    def run(
        self,
        on_start: StartCallback,
        on_finding: Callable[[Finding], None],
        reproduce: ReproduceCommand,
    ) -> Report:
        """Run the checks; call `on_start` before, and `on_finding` after each."""
        graph = self.graph
        learned = frozenset(p.name for p in graph.parameters if not p.is_frozen)
        subject = Subject(graph, draw_weights(graph), learned)
        checks = build_checks(subject, self._targets, self._cases)
        findings: list[Finding] = []
        for finding in run_checks(checks, self._budget, on_start, reproduce):
            on_finding(finding)
            findings.append(finding)
        for finding in self._unchecked:
            on_start(finding.name)
            on_finding(finding)
            findings.append(finding)
        return Report(graph.name, tuple(findings), self._budget.elapsed())


def _finding_without_case(backend: str, status: FindingStatus, detail: str) -> Finding:
    return Finding(f"against the reference: {backend}", backend, "", "", status, 0, 0, detail)


def _supported_targets(graph: OperatorGraph, name: str) -> tuple[list[ExecutionTarget], str]:
    """Return the execution targets on which a backend runs a graph; if none, the reason."""
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    try:
        backends = Backends(graph, name)
    except RnnError as error:
        return [], error.diagnostics[0].message
    targets: list[ExecutionTarget] = []
    reason = ""
    for device in devices:
        for dtype in (torch.float64, torch.float32):
            like = torch.empty(0, device=device, dtype=dtype)
            try:
                backend = backends.choose(like)
            except RnnError:
                reason = reason or backends.candidates[0].unsupported_reason(like)
            else:
                targets.append(ExecutionTarget(backend.name, like.device, dtype))
    return targets, reason
