"""Is a model computed right on this machine? Against finite differences, backends, and itself.

Sizes of the spec are used as they are; T and B are small and odd. The smallest cases come first, so
that the first one which fails is the smallest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from ..operators.graph import OperatorGraph
from ..operators.program import Program
from .backends.registry import BACKENDS, Backends
from .module import CompiledRNN

Status = Literal["ok", "failed", "skipped"]

CASES: Final = tuple(
    {"steps": steps, "rows": rows, "ragged": ragged, "reset": reset}
    for steps, rows in ((1, 1), (2, 1), (3, 2), (7, 3))
    for ragged, reset in ((False, False), (True, False), (True, True))
)
TOLERANCE: Final = {torch.float64: 1e-9, torch.float32: 1e-4}
STEP: Final = 1e-6
DIFFERENCE: Final = 1e-5
"""What a directional derivative may be off by, relative to its size, where it is above one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: how many cases it has seen, and the first (smallest) one that failed."""

    name: str
    status: Status
    cases: int
    detail: str


def verify_graph(graph: OperatorGraph) -> Iterator[Finding]:
    """Every check of a model, one after the other."""
    models = _Models(graph)
    yield _checked("gradients, float64", models, _gradients)
    yield from _against_reference(models)
    if models.of("reference").runs_backward:
        yield Finding("parts against whole", "skipped", 0, "the model runs backward in time")
    else:
        yield _checked("parts against whole", models, _parts)


class _Models:
    """The models of one graph, each made once: large ones take longer to make than to check."""

    def __init__(self, graph: OperatorGraph) -> None:
        self.graph = graph
        self._made: dict[tuple[str, torch.dtype], CompiledRNN] = {}

    def of(self, backend: str, dtype: torch.dtype = torch.float64) -> CompiledRNN:
        """The model on a backend, in training, its parameters the same everywhere."""
        key = (backend, dtype)
        if key not in self._made:
            self._made[key] = self._make(backend).to(dtype)
        return self._made[key].train()

    def _make(self, backend: str) -> CompiledRNN:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = CompiledRNN(self.graph, Program("", self.graph.name), backend=backend)
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.dim() == 1:
                        parameter.add_(0.1 * torch.randn_like(parameter))
        return model


Case = dict[str, Any]
Check = Callable[[_Models, Case], str]
"""What is off in a case; empty where nothing is."""


def _checked(name: str, models: _Models, check: Check) -> Finding:
    for index, case in enumerate(CASES):
        wrong = check(models, case)
        if wrong:
            return _failed(name, index, case, wrong)
    return Finding(name, "ok", len(CASES), f"{len(CASES)} cases")


def _failed(name: str, index: int, case: Case, wrong: str) -> Finding:
    where = f"T={case['steps']}, B={case['rows']}"
    where += ", ragged" * case["ragged"] + ", with resets" * case["reset"]
    return Finding(name, "failed", index + 1, f"{where}: {wrong}")


def _against_reference(models: _Models) -> Iterator[Finding]:
    """Every backend in every dtype; the reference, which is slow, runs each case once."""
    found: dict[tuple[str, torch.dtype], Finding] = {}
    names = [name for name in BACKENDS if name != "reference"]
    for dtype in TOLERANCE:
        left: list[str] = []
        for name in names:
            reason = _refusal(models.graph, name, dtype)
            if reason:
                found[name, dtype] = Finding(_label(name, dtype), "skipped", 0, reason)
            else:
                left.append(name)
                found[name, dtype] = Finding(
                    _label(name, dtype), "ok", len(CASES), f"{len(CASES)} cases"
                )
        for index, case in enumerate(CASES if left else ()):
            said = _inputs(models.graph, case, dtype)
            theirs = _all(models.of("reference", dtype), said)
            for name in list(left):
                wrong = _difference(_all(models.of(name, dtype), said), theirs, TOLERANCE[dtype])
                if wrong:
                    found[name, dtype] = _failed(_label(name, dtype), index, case, wrong)
                    left.remove(name)
    yield from (found[name, dtype] for name in names for dtype in TOLERANCE)


def _label(name: str, dtype: torch.dtype) -> str:
    return f"{name} against reference, {str(dtype).removeprefix('torch.')}"


def _refusal(graph: OperatorGraph, name: str, dtype: torch.dtype) -> str:
    from ..grammar.diagnostics import RnnError

    try:
        Backends(graph, name).choose(torch.empty(0, dtype=dtype))
    except RnnError as error:
        return error.diagnostics[0].message
    return ""


def _inputs(graph: OperatorGraph, case: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    steps, rows = case["steps"], case["rows"]
    x: dict[str, Tensor] = {}
    for variable in graph.inputs:
        shape = (steps, rows)
        if variable.type.kind == "symbol":
            x[variable.name] = torch.randint(-1, variable.type.size, shape, generator=generator)
        else:
            drawn = torch.randn(*shape, variable.type.size, generator=generator).to(dtype)
            x[variable.name] = (drawn > 0).to(dtype) if variable.type.kind == "binary" else drawn
    said: dict[str, Any] = {"x": x}
    if case["ragged"]:
        lengths = torch.randint(0, steps + 1, (rows,), generator=generator)
        lengths[0] = steps
        said["lengths"] = lengths
    if case["reset"]:
        said["resets"] = torch.rand(shape, generator=generator) < 0.3
    return said


def _score(model: CompiledRNN, said: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """One number that depends on all results, and the results by name; chance is the same again."""
    torch.manual_seed(2)
    y, state = model(said["x"], lengths=said.get("lengths"), resets=said.get("resets"))
    outputs = y if isinstance(y, tuple) else (y,)
    found = {o.name: v for o, v in zip(model.graph.outputs, outputs, strict=True)}
    if state is not None:
        found |= {f"state {name}": value for name, value in state._asdict().items()}
    found |= {f"law {index}": value for index, value in enumerate(model.laws().values())}
    if model.training and model.graph.losses is not None:
        targets = _targets(model, outputs, said["x"])
        found["loss"] = model.loss(y, targets, lengths=said.get("lengths"))
    generator = torch.Generator().manual_seed(3)
    total = torch.zeros((), dtype=torch.float64)
    for value in found.values():
        if value.is_floating_point():
            weight = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            total = total + (value.double() * weight).sum()
    return total, found


def _targets(
    model: CompiledRNN, outputs: tuple[Tensor, ...], x: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Of all that is scored, and the next values that `loss` lines read."""
    graph = model.graph
    generator = torch.Generator().manual_seed(5)
    wanted = {i.name: (i.type, x[i.name].shape[:2]) for i in graph.next_values}
    for output, y in zip(graph.outputs, outputs, strict=True):
        if not output.unscored:
            wanted[output.predicts or output.name] = (output.type, y.shape[:-1])
    made: dict[str, Tensor] = {}
    for name, (type_, shape) in wanted.items():
        if type_.kind == "symbol":
            made[name] = torch.randint(type_.size, shape, generator=generator)
        else:
            drawn = torch.rand(*shape, type_.size, generator=generator).to(outputs[0].dtype)
            made[name] = drawn.round() if type_.kind == "binary" else drawn
    return made


def _all(model: CompiledRNN, said: dict[str, Any]) -> dict[str, Tensor]:
    total, found = _score(model, said)
    learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if total.requires_grad and learned:
        gradients = torch.autograd.grad(total, list(learned.values()), allow_unused=True)
        for (name, parameter), gradient in zip(learned.items(), gradients, strict=True):
            zero = torch.zeros_like(parameter)
            found[f"gradient of {name}"] = zero if gradient is None else gradient
    return {name: value.detach() for name, value in found.items()}


def _difference(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> str:
    for name, b in theirs.items():
        a = ours[name]
        if not b.numel():
            continue
        if not b.is_floating_point():
            far = 0.0 if torch.equal(a, b) else 1.0
        else:
            far = float((a - b).abs().max() / b.abs().max().clamp(min=1))
        # Not `far > tolerance`: a result that is no number is wrong, too.
        if not far <= tolerance:
            return f"{name} is off by {far:.2g}, allowed {tolerance:g}"
    return ""


def _gradients(models: _Models, case: Case) -> str:
    """Directional derivatives along a random direction, one parameter after the other.

    The largest case has a direction for each parameter; the others one for all of them at once,
    which is as good at finding a mistake, and takes a parameter each only to say where it is.
    """
    said = _inputs(models.graph, case, torch.float64)
    model = models.of("auto")
    found = _all(model, said)
    learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
    groups = [{name: p} for name, p in learned.items()]
    together = _off_along(model, said, found, learned)
    if case is not CASES[-1] and not together:
        return ""
    alone = (_off_along(model, said, found, group) for group in groups)
    return next((wrong for wrong in alone if wrong), together)


def _off_along(
    model: CompiledRNN,
    said: dict[str, Any],
    found: dict[str, Tensor],
    parameters: dict[str, torch.nn.Parameter],
) -> str:
    """What is off along a direction in which some parameters are moved, each by as much."""
    generator = torch.Generator().manual_seed(4)
    directions: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        directions[name] = drawn / drawn.norm().clamp(min=1e-12)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    sides: list[float] = []
    with torch.no_grad():
        for step in (STEP, -STEP):
            for name, parameter in parameters.items():
                torch.add(before[name], directions[name], alpha=step, out=parameter)
            sides.append(float(_score(model, said)[0]))
        for name, parameter in parameters.items():
            parameter.copy_(before[name])
    numeric = (sides[0] - sides[1]) / (2 * STEP)
    analytic = sum(float((found[f"gradient of {n}"] * d).sum()) for n, d in directions.items())
    if not abs(numeric - analytic) <= DIFFERENCE * max(1.0, abs(numeric)):
        names = ", ".join(parameters)
        return f"gradient of {names} is {analytic:.6g}, finite differences give {numeric:.6g}"
    return ""


def _parts(models: _Models, case: Case) -> str:
    """A sequence in two halves gives what it gives whole, in evaluation."""
    if case["ragged"] or case["steps"] < 2:
        return ""
    graph = models.graph
    said = _inputs(graph, case, torch.float64)
    model = models.of("auto").eval()
    at = case["steps"] // 2
    resets = said.get("resets")
    if any(output.at_end for output in graph.outputs):
        return ""
    with torch.no_grad():
        start = model.initial_state(case["rows"])
        whole, last = model(said["x"], start, resets=resets)
        first, state = model(
            {k: v[:at] for k, v in said["x"].items()},
            start,
            resets=None if resets is None else resets[:at],
        )
        second, end = model(
            {k: v[at:] for k, v in said["x"].items()},
            state,
            resets=None if resets is None else resets[at:],
        )
    wholes = whole if isinstance(whole, tuple) else (whole,)
    halves = zip(
        *(part if isinstance(part, tuple) else (part,) for part in (first, second)), strict=True
    )
    names = [output.name for output in graph.outputs]
    ours = {n: torch.cat(pair) for n, pair in zip(names, halves, strict=True)}
    ours |= {f"state {k}": v for k, v in end._asdict().items()}
    theirs = dict(zip(names, wholes, strict=True))
    theirs |= {f"state {k}": v for k, v in last._asdict().items()}
    return _difference(ours, theirs, TOLERANCE[torch.float64])
