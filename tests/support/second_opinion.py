"""A model's call held against the second oracle, row by row: values, and one random derivative."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnc.compiler.history import age_name, carried
from rnnc.compiler.module import CompiledRNN

from .feeds import Feed
from .second_oracle import Answer, Row, Tangents, evaluate


def opinions(
    model: CompiledRNN,
    feed: Feed,
    directions: Mapping[str, Tensor] | None = None,
    targets: Mapping[str, Tensor] | None = None,
) -> list[Answer]:
    """The second oracle's answer for each row of a call.

    `directions` are by `parameter NAME`, `input NAME`, `state NAME`; `targets` by predicted input.
    """
    parameters = {k: v.detach().double().numpy() for k, v in model.state_dict().items()}
    steps, rows = next(iter(feed.x.values())).shape[:2]
    made = {} if directions is None else {k: v.double().numpy() for k, v in directions.items()}
    answers: list[Answer] = []
    for b in range(rows):
        length = steps if feed.lengths is None else int(feed.lengths[b])
        resets = [feed.resets is not None and bool(feed.resets[t, b]) for t in range(length)]
        inputs = {k: _steps(v[:length, b]) for k, v in feed.x.items()}
        goals = {k: _steps(v[:length, b]) for k, v in (targets or {}).items()}
        state, age = _state(model, feed.state, b)
        tangents = Tangents(
            {k.removeprefix("parameter "): v for k, v in made.items() if k.startswith("param")},
            {k.removeprefix("input "): list(v[:length, b]) for k, v in made.items()
             if k.startswith("input ")},
            {k.removeprefix("state "): list(v[..., b, :].reshape(-1, v.shape[-1]))
             for k, v in made.items() if k.startswith("state ")},
        )  # fmt: skip
        answers.append(
            evaluate(
                model.program.text,
                model.program.parameters,
                parameters,
                Row(inputs, resets, state, age),
                tangents=None if directions is None else tangents,
                targets=goals,
            )
        )
    return answers


def _steps(series: Tensor) -> list[Any]:
    if series.is_floating_point():
        return list(series.detach().double().numpy())
    return [int(v) for v in series]


def _state(model: CompiledRNN, state: Any, b: int) -> tuple[dict[str, list[Any]] | None, int]:
    if state is None:
        return None, 0
    found: dict[str, list[Any]] = {}
    for item, value in zip(carried(model.graph), state, strict=True):
        line = value if item.steps > 1 else value[None]
        found[item.name] = _steps(line[:, b])
    age = found.pop(age_name(model.graph), [0]) if model.graph.has_windows else [0]
    return found, int(age[0])


def assert_second_opinion(
    model: CompiledRNN, feed: Feed, *, seed: int = 0, tolerance: float = 1e-9
) -> None:
    """A model in evaluation gives what the second oracle says, and moves as it says."""
    assert not model.training
    generator = torch.Generator().manual_seed(seed)
    named: dict[str, Tensor] = {
        f"parameter {k}": p for k, p in model.named_parameters() if p.requires_grad
    }
    named |= {f"input {k}": v for k, v in feed.x.items() if v.is_floating_point()}
    if feed.state is not None:
        for item, value in zip(carried(model.graph), feed.state, strict=True):
            if value.is_floating_point():
                named[f"state {item.name}"] = value
    for value in named.values():
        value.requires_grad_()
    directions = {
        k: torch.randn(v.shape, generator=generator, dtype=torch.float64) for k, v in named.items()
    }
    expected = opinions(model, feed, directions)
    y, state = feed.call(model)
    ys = y if isinstance(y, tuple) else (y,)
    score, slope = torch.zeros((), dtype=torch.float64), 0.0
    for output, value in zip(model.graph.outputs, ys, strict=True):
        wanted = _outputs([a.outputs[output.name] for a in expected], value)
        moved = _outputs([a.tangents.outputs[output.name] for a in expected if a.tangents], value)
        agree(value, wanted, tolerance, f"output {output.name}")
        weight = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        score, slope = score + (weight * value).sum(), slope + float((weight * moved).sum())
    items = () if model.runs_backward else carried(model.graph)
    for item, value in zip(items, state or (), strict=True):
        line = value if item.steps > 1 else value[None]
        if model.graph.has_windows and item.name == age_name(model.graph):
            assert line[0].tolist() == [a.age for a in expected], "age"
            continue
        wanted = _carried([a.state[item.name] for a in expected], item.steps)
        agree(line, wanted, tolerance, f"state {item.name}")
        if value.is_floating_point():
            moved = _carried(
                [a.tangents.state[item.name] for a in expected if a.tangents], item.steps
            )
            weight = torch.randn(line.shape, generator=generator, dtype=torch.float64)
            score, slope = score + (weight * line).sum(), slope + float((weight * moved).sum())
    if not score.requires_grad:
        assert abs(slope) <= tolerance, "a derivative where the model has none"
        return
    found = torch.autograd.grad(score, list(named.values()), allow_unused=True)
    total = sum(
        float((g * d).sum())
        for g, d in zip(found, directions.values(), strict=True)
        if g is not None
    )
    size = 1 + sum(
        float((g * d).abs().sum())
        for g, d in zip(found, directions.values(), strict=True)
        if g is not None
    )
    assert abs(total - slope) <= tolerance * size, f"derivative {total!r} is not {slope!r}"


def agree(value: Tensor, wanted: Tensor, tolerance: float, what: str) -> None:
    """Two tensors are equal to a tolerance, infinities included."""
    assert value.shape == wanted.shape, f"{what}: {tuple(value.shape)}, not {tuple(wanted.shape)}"
    torch.testing.assert_close(
        value.detach().double(), wanted.double(), rtol=tolerance, atol=tolerance,
        msg=lambda text: f"{what}: {text}\n{value}\n{wanted}",
    )  # fmt: skip


def _outputs(rows: list[Any], like: Tensor) -> Tensor:
    """Rows as a batch, (T, B, m), zero past their ends; (B, m) at the end."""
    made = np.zeros(tuple(like.shape))
    for b, row in enumerate(rows):
        if isinstance(row, list):
            for t, value in enumerate(row):
                made[t, b] = value
        else:
            made[b] = row
    return torch.from_numpy(made)


def _carried(rows: list[Any], steps: int) -> Tensor:
    lines = [np.array(row[-steps:]) for row in rows]
    return torch.from_numpy(np.stack(lines, 1))
