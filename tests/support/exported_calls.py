"""Runs calls of exported modules: imported by tests, and run by itself where rnnc is out of reach.

`python exported_calls.py FOLDER` loads `FOLDER/cases.pt` and the modules beside it, and prints a
line for each case whose answer has not the same bits.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def answer(model: Any, case: dict[str, Any]) -> list[Tensor | None]:
    """Outputs, state, laws and all gradients of one call; chance is drawn from the same seed."""
    model.train(case["training"])
    x = {name: value.clone() for name, value in case["x"].items()}
    state = None if case["state"] is None else tuple(v.clone() for v in case["state"])
    own = [v for v in (*x.values(), *(state or ())) if v.is_floating_point()]
    for value in own if case["embedded"] else ():
        value.requires_grad_()
    torch.manual_seed(5)
    with torch.set_grad_enabled(case["gradients"]):
        y, after = model(x, state, lengths=case["lengths"], resets=case["resets"])
        results = [*(y if isinstance(y, tuple) else (y,)), *(after or ()), *model.laws().values()]
        if case["targets"] is not None:
            results.append(model.loss(y, case["targets"], lengths=case["lengths"]))
    sources = [v for v in (*model.parameters(), *own) if v.requires_grad]
    score = torch.zeros(())
    for place, value in enumerate(results):
        if value.is_floating_point():
            generator = torch.Generator().manual_seed(place)
            weight = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            score = score + (value * weight.to(value.dtype)).sum()
    found: tuple[Tensor | None, ...] = ()
    if score.requires_grad:
        found = torch.autograd.grad(score, sources, allow_unused=True)
    return [None if v is None else v.detach() for v in (*results, *found)]


def differences(got: list[Tensor | None], right: list[Tensor | None]) -> list[str]:
    """Where two answers have not the same bits."""
    found = [] if len(got) == len(right) else [f"{len(got)} results instead of {len(right)}"]
    for place, (a, b) in enumerate(zip(got, right, strict=False)):
        if a is None or b is None:
            if a is not b:
                found.append(f"result {place} is {a}")
        elif a.dtype != b.dtype or not torch.equal(a, b):
            found.append(f"result {place} is off by {(a - b).abs().max().item():.3g}")
    return found


class _Collected(Exception):
    def __init__(self, program: Any) -> None:
        self.program = program


def _collect(program: Any) -> None:
    raise _Collected(program)


def together(models: list[tuple[Any, Any, dict[str, Any]]]) -> None:
    """Compile what some cases need as one file of C, and give it to their modules."""
    parts: dict[bool, dict[str, str]] = {True: {}, False: {}}
    heads: dict[bool, str] = {}
    waiting: list[Any] = []
    for module, model, case in models:
        module.Written.load = _collect
        try:
            answer(model, case)
        except _Collected as found:
            program = found.program
        text = program.source()
        shared, _, own = text.partition("\n#if IS_DOUBLE\n\n")
        double, _, single = own.partition("\n#else\n\n")
        chosen = double if program.double else single.rpartition("\n#endif")[0]
        names = set(program.emitter.of.values())
        for block in chosen.split("\n// "):
            if any(f"void {name}(" in block for name in names):
                parts[program.double].setdefault(block, "// " + block.removeprefix("// "))
        heads[program.double] = shared
        waiting.append((module, program))
    libraries = {}
    for module, program in waiting:
        if program.double not in libraries:
            module.FLAGS = (*module.FLAGS, "-O1")
            text = heads[program.double] + "\n" + "\n".join(parts[program.double].values())
            libraries[program.double] = module.build(text, program.level)
        module.Written.load = _given(libraries)


def _given(libraries: dict[bool, Any]) -> Callable[[Any], None]:
    return lambda program: program.libraries.append(libraries[program.double])


def main(folder: Path) -> None:
    sys.path.insert(0, str(folder))
    cases = torch.load(folder / "cases.pt", weights_only=True)
    models = []
    for case in cases:
        module = importlib.import_module(case["module"])
        model = module.Model().double() if case["double"] else module.Model()
        model.load_state_dict(case["weights"])
        models.append((module, model, case))
    if len(cases) > 3:
        together(models)
    assert "rnnc" not in sys.modules
    for _, model, case in models:
        for line in differences(answer(model, case), case["right"]):
            print(f"{case['module']}: {line}")
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
