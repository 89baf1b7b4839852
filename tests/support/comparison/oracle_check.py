"""Compare a call with the second oracle, row by row: values and a directional derivative."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.graph.carry import CarryEntry, age_name, carry_entries
from support.comparison.random_arguments import CallArguments, random_targets
from support.second_oracle import RowArguments, RowResult, Tangents, evaluate


def evaluate_rows(
    model: CompiledRNN,
    feed: CallArguments,
    directions: Mapping[str, Tensor] | None = None,
    goals: Mapping[str, Tensor] | None = None,
) -> list[RowResult]:
    """Evaluate each row of a call with the second oracle.

    `directions` are by `parameter NAME`, `input NAME`, `state NAME`; `goals` by predicted input.
    """
    parameters = {k: v.detach().double().numpy() for k, v in model.state_dict().items()}
    steps, rows = next(iter(feed.inputs.values())).shape[:2]
    answers: list[RowResult] = []
    for b in range(rows):
        length = steps if feed.lengths is None else int(feed.lengths[b])
        resets = [feed.resets is not None and bool(feed.resets[t, b]) for t in range(length)]
        inputs = {k: _split_steps(v[:length, b]) for k, v in feed.inputs.items()}
        state, age = _row_state(model, feed.state, b)
        answers.append(
            evaluate(
                model.program.text,
                model.program.parameters,
                parameters,
                RowArguments(inputs, resets, state, age),
                tangents=None if directions is None else _tangents(directions, length, b),
                targets={k: _split_steps(v[:length, b]) for k, v in (goals or {}).items()},
                model=model.program.model,
            )
        )
    return answers


def _tangents(directions: Mapping[str, Tensor], length: int, b: int) -> Tangents:
    parameters: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    state: dict[str, Any] = {}
    for key, value in directions.items():
        kind, _, name = key.partition(" ")
        if kind == "parameter":
            parameters[name] = value.numpy()
        elif kind == "input":
            inputs[name] = list(value[:length, b].numpy())
        else:
            state[name] = list(value[..., b, :].reshape(-1, value.shape[-1]).numpy())
    return Tangents(parameters, inputs, state)


def _split_steps(series: Tensor) -> list[Any]:
    if series.is_floating_point():
        return list(series.detach().double().numpy())
    return [int(v) for v in series]


def _row_state(model: CompiledRNN, state: Any, b: int) -> tuple[dict[str, list[Any]] | None, int]:
    if state is None:
        return None, 0
    state_by_name: dict[str, list[Any]] = {}
    for item, value in zip(carry_entries(model.graph), state, strict=True):
        line = value if item.steps > 1 else value[None]
        state_by_name[item.name] = _split_steps(line[:, b])
    age = state_by_name.pop(age_name(model.graph), [0]) if model.graph.has_windows else [0]
    return state_by_name, int(age[0])


class _DerivativeCheck:
    """A random score of all compared tensors, and its expected directional derivative."""

    def __init__(self, expected: Sequence[RowResult], tolerance: float, seed: int) -> None:
        self._expected, self._tolerance = expected, tolerance
        self._generator = torch.Generator().manual_seed(seed)
        self.score, self.slope = torch.zeros((), dtype=torch.float64), 0.0

    def draw(self, shape: Sequence[int]) -> Tensor:
        return torch.randn(tuple(shape), generator=self._generator, dtype=torch.float64)

    def check_tensor(
        self, what: str, actual: Tensor, expected_of: Callable[[RowResult], Any]
    ) -> None:
        """Compare one tensor; `theirs` picks a row's part from a result."""
        expected, expected_slope = (
            _stack_rows([expected_of(a) for a in answers], actual)
            for answers in (self._expected, [a.tangents for a in self._expected if a.tangents])
        )
        assert_equal(actual, expected, self._tolerance, what)
        weight = self.draw(actual.shape)
        self.score = self.score + (weight * actual).sum()
        self.slope += float((weight * expected_slope).sum())

    def check_mean(
        self, what: str, actual: Tensor, expected_of: Callable[[RowResult], float], n: int
    ) -> None:
        """Compare a mean over n steps of all rows with sums over each row."""
        expected, expected_slope = (
            sum(expected_of(a) for a in answers) / max(n, 1)
            for answers in (self._expected, [a.tangents for a in self._expected if a.tangents])
        )
        assert_equal(actual, torch.tensor(expected, dtype=torch.float64), self._tolerance, what)
        weight = float(self.draw(()))
        self.score, self.slope = self.score + weight * actual, self.slope + weight * expected_slope


def assert_matches_oracle(
    model: CompiledRNN, feed: CallArguments, *, seed: int = 0, tolerance: float = 1e-9
) -> None:
    """Assert that a model's values and directional derivatives match the second oracle.

    In training its laws and `loss` terms are compared, too; nothing in it may then be random.
    """
    named: dict[str, Tensor] = {
        f"parameter {k}": p for k, p in model.named_parameters() if p.requires_grad
    }
    named |= {f"input {k}": v for k, v in feed.inputs.items() if v.is_floating_point()}
    if feed.state is not None:
        named |= {
            f"state {item.name}": value
            for item, value in zip(carry_entries(model.graph), feed.state, strict=True)
            if value.is_floating_point()
        }
    for value in named.values():
        value.requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    directions = {
        k: torch.randn(v.shape, generator=generator, dtype=torch.float64) for k, v in named.items()
    }
    y, state = feed.call(model)
    ys = y if isinstance(y, tuple) else (y,)
    target_values = random_targets(model, y, seed=seed)
    predicted = {
        output.predicted_input: aim
        for output, aim in zip(
            model.graph.scored_outputs,
            target_values if isinstance(target_values, tuple) else (target_values,),
            strict=True,
        )
        if output.predicted_input is not None
    }
    expected = evaluate_rows(model, feed, directions, predicted)
    compared = _DerivativeCheck(expected, tolerance, seed)
    for output, value in zip(model.graph.outputs, ys, strict=True):
        compared.check_tensor(f"output {output.name}", value, lambda a, n=output.name: a.outputs[n])  # type: ignore[misc]
    for item, value in _named_states(model, state):
        if model.graph.has_windows and item.name == age_name(model.graph):
            assert value[0].tolist() == [a.age for a in expected], "age"
        elif value.is_floating_point():
            compared.check_tensor(
                f"state {item.name}",
                value,
                lambda a, item=item: np.array(a.state[item.name][-item.steps :]),  # type: ignore[misc]
            )
        else:
            symbols = [a.state[item.name][-item.steps :] for a in expected]
            assert value.t().tolist() == symbols, f"state {item.name}"
    if model.training:
        _check_losses(model, feed, y, target_values, compared)
    _check_derivative(compared, named, directions, tolerance)


def is_random(model: CompiledRNN) -> bool:
    """Test that two calls in training may differ."""
    graph = model.graph
    dropped = any(parameter.weightdrop for parameter in graph.parameters)
    lines = graph.loss_graph is not None and bool(graph.loss_graph.graph.random_nodes)
    return dropped or lines or bool(graph.random_nodes)


def _named_states(model: CompiledRNN, state: Any) -> Iterator[tuple[CarryEntry, Tensor]]:
    """Yield the carried values, (k, B, …)."""
    items = () if model.runs_backward else carry_entries(model.graph)
    for item, value in zip(items, state or (), strict=True):
        yield item, value if item.steps > 1 else value[None]


def _check_losses(
    model: CompiledRNN, feed: CallArguments, y: Any, aims: Any, compared: _DerivativeCheck
) -> None:
    assert not is_random(model), "training a model with chance in it is not one function"
    steps, rows = next(iter(feed.inputs.values())).shape[:2]
    count = steps * rows if feed.lengths is None else int(feed.lengths.sum())
    for index, value in enumerate(model.laws().values()):
        compared.check_mean(f"law {index}", value, lambda a, i=index: sum(a.laws[i]), count)  # type: ignore[misc]
    full = model.loss(y, aims, lengths=feed.lengths)
    base = model.eval().loss(y, aims, lengths=feed.lengths)
    model.train()
    compared.check_mean("laws and loss lines", full - base, _total_loss, count)


def _total_loss(answer: RowResult) -> float:
    terms = [w * sum(v) for w, v in zip(answer.law_weights, answer.laws, strict=True)]
    for weight, values in zip(answer.loss_weights, answer.losses, strict=True):
        assert values is not None
        terms.append(weight * sum(values))
    return sum(terms)


def _check_derivative(
    compared: _DerivativeCheck,
    named: Mapping[str, Tensor],
    directions: Mapping[str, Tensor],
    tolerance: float,
) -> None:
    if not compared.score.requires_grad:
        assert abs(compared.slope) <= tolerance, "a derivative where the model has none"
        return
    gradients = torch.autograd.grad(compared.score, list(named.values()), allow_unused=True)
    products = [g * d for g, d in zip(gradients, directions.values(), strict=True) if g is not None]
    total = sum(float(part.sum()) for part in products)
    size = 1 + sum(float(part.abs().sum()) for part in products)
    assert abs(total - compared.slope) <= tolerance * size, (
        f"the derivative is {total!r}, not {compared.slope!r}"
    )


def assert_equal(value: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Assert that two tensors are equal to a tolerance, infinities included."""
    assert value.shape == expected.shape, (
        f"{what}: {tuple(value.shape)}, not {tuple(expected.shape)}"
    )
    torch.testing.assert_close(
        value.detach().double(),
        expected,
        rtol=tolerance,
        atol=tolerance,
        msg=lambda text: f"{what}: {text}\n{value}\n{expected}",
    )


def _stack_rows(rows: Sequence[Any], like: Tensor) -> Tensor:
    """Stack results of rows to a batch, (T, B, m), zero in padding; (B, m) at the end."""
    batch = np.zeros(tuple(like.shape))
    for b, row in enumerate(rows):
        if batch.ndim == 2:
            batch[b] = row
        elif len(row):
            batch[: len(row), b] = row
    return torch.from_numpy(batch)
