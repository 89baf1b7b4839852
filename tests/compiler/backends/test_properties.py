"""Check properties of random specs: time, segments, padding, independent rows, gradients."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.graph import carry
from rnnc.operators.semantics import interpreter
from rnnc.operators.semantics.segments import Segments
from support.comparison.assertions import assert_close, parameter_gradients, weighted_sum
from support.comparison.random_arguments import (
    CallArguments,
    feed,
    random_state,
    randomize_parameters,
)
from support.generator import random_spec

SEEDS = range(60)
ROUNDING = 1e-12


@cache
def compiled(seed: int) -> CompiledRNN:
    spec = random_spec(seed)
    model = rnnc.compile(spec.text, backend="reference", parameters=spec.sizes).double().eval()
    return randomize_parameters(model, seed)


def forward_models() -> list[int]:
    return [seed for seed in SEEDS if not compiled(seed).runs_backward]


def is_drawn(model: CompiledRNN) -> bool:
    """Whether an initial value is drawn anew at every call and every reset."""
    return any(s.initial_value.kind == "uniform" for s in model.graph.states)


def ends(model: CompiledRNN) -> list[bool]:
    return [output.at_end for output in model.graph.outputs]


def several(y: Any) -> tuple[Tensor, ...]:
    return y if isinstance(y, tuple) else (y,)


def backward(number: Tensor) -> None:
    """Send gradients back, where a spec lets any through."""
    if number.requires_grad:
        number.backward()


def part(given: CallArguments, start: int, stop: int, state: Any) -> CallArguments:
    """The steps from `start` to `stop` of a call, going on from a state."""
    lengths = given.lengths
    return CallArguments(
        {name: x[start:stop] for name, x in given.inputs.items()},
        state,
        None if lengths is None else (lengths - start).clamp(0, stop - start),
        None if given.resets is None else given.resets[start:stop],
    )


def in_parts(model: CompiledRNN, given: CallArguments, cuts: list[int]) -> tuple[list[Tensor], Any]:
    steps = len(next(iter(given.inputs.values())))
    rows = next(iter(given.inputs.values())).shape[1]
    series: list[list[Tensor]] = []
    carried = given.state
    for start, stop in zip([0, *cuts], [*cuts, steps], strict=True):
        now = part(given, start, stop, carried)
        y, carried = now.call(model)
        lengths = now.lengths if now.lengths is not None else torch.full((rows,), stop - start)
        series.append(list(several(y)))
        if len(series) > 1:
            for index, end in enumerate(ends(model)):
                before = series[-2][index]
                series[-1][index] = (
                    torch.where((lengths > 0).unsqueeze(-1), series[-1][index], before)
                    if end
                    else torch.cat([before, series[-1][index]])
                )
    return series[-1], carried


def check_parts(model: CompiledRNN, seed: int, kind: str, cuts: list[int]) -> None:
    arguments = feed(
        model, 7, 4, seed=seed, ragged="ragged" in kind, reset="reset" in kind, carry=True
    )
    with torch.no_grad():
        y, after = arguments.call(model)
        ys, afters = in_parts(model, arguments, cuts)
    assert_close(ys, list(several(y)), ROUNDING, "y")
    assert_close(tuple(afters), tuple(after), ROUNDING, "state")


@pytest.mark.parametrize("kind", ["plain", "ragged", "reset", "ragged reset"])
def test_a_sequence_in_parts_is_the_whole(kind: str) -> None:
    for seed in forward_models():
        model = compiled(seed)
        if is_drawn(model) and "reset" in kind:
            continue
        check_parts(model, seed, kind, [[1], [2], [0, 6], [7], [1, 2, 3, 4, 5, 6]][seed % 5])


def test_a_forgotten_history_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    after = Segments.next_carry

    def forgetful(self: Segments, node: int, series: list[Tensor]) -> Tensor:
        value = after(self, node, series)
        if len(value) > 1 and value.is_floating_point():
            value[0] = 0
        return value

    monkeypatch.setattr(Segments, "next_carry", forgetful)
    deep = [
        s
        for s in forward_models()
        if any(entry.steps > 1 and entry.size for entry in carry.carry_entries(compiled(s).graph))
    ]
    caught = 0
    for seed in deep[:8]:
        try:
            check_parts(compiled(seed), seed, "plain", [4])
        except AssertionError:
            caught += 1
    assert caught >= 6  # an output at the end may look back less far


def test_resets_are_separate_sequences() -> None:
    for seed in SEEDS:
        model = compiled(seed)
        if is_drawn(model):
            continue
        arguments = feed(model, 7, 3, seed=seed)
        cut = 1 + seed % 6
        resets = torch.zeros(7, 3, dtype=torch.bool)
        resets[cut] = True
        with torch.no_grad():
            y, after = model(arguments.inputs, resets=resets)
            first, _ = part(arguments, 0, cut, None).call(model)
            second, fresh = part(arguments, cut, 7, None).call(model)
        joined = [
            b if end else torch.cat([a, b])
            for a, b, end in zip(several(first), several(second), ends(model), strict=True)
        ]
        assert_close(joined, list(several(y)), ROUNDING, f"y of {seed}")
        if after is not None:
            assert_close(tuple(fresh), tuple(after), ROUNDING, f"state of {seed}")


def poisoned(given: CallArguments) -> CallArguments:
    """The same call with NaN, or another symbol, in the padding."""
    assert given.lengths is not None
    x: dict[str, Tensor] = {}
    for name, value in given.inputs.items():
        padding = torch.arange(len(value)).unsqueeze(-1) >= given.lengths
        bad = float("nan") if value.is_floating_point() else 1
        x[name] = value.masked_fill(padding if value.dim() == 2 else padding.unsqueeze(-1), bad)
    return CallArguments(x, given.state, given.lengths, given.resets)


@pytest.mark.parametrize("training", [False, True])
def test_padding_touches_neither_values_nor_gradients(training: bool) -> None:
    for seed in SEEDS:
        model = compiled(seed).train(training)
        arguments = feed(model, 6, 4, seed=seed, ragged=True, reset=seed % 2 == 0)
        assert arguments.lengths is not None
        answers = []
        for call in (arguments, poisoned(arguments)):
            model.zero_grad()
            xs = {
                k: v.clone().requires_grad_(v.is_floating_point()) for k, v in call.inputs.items()
            }
            torch.manual_seed(seed)
            y, after = CallArguments(xs, None, call.lengths, call.resets).call(model)
            backward(weighted_sum((y, after)) + sum(model.laws().values(), torch.zeros(())))
            inputs = [v.grad for v in xs.values() if v.requires_grad]
            answers.append(([*several(y)], list(after or ()), parameter_gradients(model), inputs))
        model.eval()
        assert_close(answers[1], answers[0], 0.0, f"spec {seed}")
        for gradient in answers[1][3]:
            for b, length in enumerate(arguments.lengths.tolist()):
                assert gradient is None or not gradient[length:, b].any()
        for value, end in zip(answers[1][0], ends(model), strict=True):
            for b, length in enumerate(arguments.lengths.tolist()):
                if not end:
                    assert not value[length:, b].any()
                elif not length:
                    assert not value[b].any()


def test_rows_do_not_know_each_other() -> None:
    for seed in SEEDS:
        model = compiled(seed)
        arguments = feed(model, 5, 3, seed=seed, ragged=True, reset=not is_drawn(model), carry=True)
        if is_drawn(model) and model.runs_backward:
            continue
        with torch.no_grad():
            y, after = arguments.call(model)
            for b in range(3):
                assert arguments.lengths is not None
                row_arguments = CallArguments(
                    {k: v[:, b : b + 1] for k, v in arguments.inputs.items()},
                    one_row(model, arguments.state, b),
                    arguments.lengths[b : b + 1],
                    None if arguments.resets is None else arguments.resets[:, b : b + 1],
                )
                y_, after_ = row_arguments.call(model)
                expected = [
                    v[b : b + 1] if end else v[:, b : b + 1]
                    for v, end in zip(several(y), ends(model), strict=True)
                ]
                assert_close(list(several(y_)), expected, ROUNDING, f"spec {seed}")
                assert_close(after_, one_row(model, after, b), ROUNDING, f"spec {seed}")


def one_row(model: CompiledRNN, state: Any, b: int) -> Any:
    if state is None:
        return None
    parts = [
        value[:, b : b + 1] if item.steps > 1 else value[b : b + 1]
        for item, value in zip(carry.carry_entries(model.graph), state, strict=True)
    ]
    return type(state)(*parts)


def test_not_a_number_stays_in_its_row() -> None:
    for seed in SEEDS:
        model = compiled(seed)
        if is_drawn(model):
            continue
        arguments = feed(model, 5, 3, seed=seed, ragged=True, reset=True)
        real = [k for k, v in arguments.inputs.items() if v.is_floating_point()]
        if not real:
            continue
        bad = {k: v.clone() for k, v in arguments.inputs.items()}
        bad[real[0]][2, 1] = float("nan")
        answers = []
        for x in (arguments.inputs, bad):
            xs = {k: v.clone().requires_grad_(v.is_floating_point()) for k, v in x.items()}
            y, after = model(xs, lengths=arguments.lengths, resets=arguments.resets)
            backward(weighted_sum((y, after)))
            gradients = [
                torch.zeros_like(v)[:, [0, 2]] if v.grad is None else v.grad[:, [0, 2]]
                for v in xs.values()
                if v.requires_grad
            ]
            rows = [v[[0, 2]] if e else v[:, [0, 2]]
                    for v, e in zip(several(y), ends(model), strict=True)]  # fmt: skip
            answers.append((rows, gradients))
        model.zero_grad()
        assert_close(answers[1], answers[0], 0.0, f"spec {seed}")


def test_batch_first() -> None:
    for seed in SEEDS:
        spec, model = random_spec(seed), compiled(seed)
        if is_drawn(model):
            continue
        batch_first_model = rnnc.compile(
            spec.text, backend="reference", batch_first=True, parameters=spec.sizes
        ).double()
        batch_first_model.load_state_dict(model.state_dict())
        arguments = feed(model, 5, 3, seed=seed, ragged=True, reset=True, carry=True)
        assert arguments.resets is not None
        x = {k: v.transpose(0, 1) for k, v in arguments.inputs.items()}
        with torch.no_grad():
            y, after = arguments.call(model)
            y_, after_ = batch_first_model.eval()(
                x,
                arguments.state,
                lengths=arguments.lengths,
                resets=arguments.resets.transpose(0, 1),
            )
        for a, b, end in zip(several(y_), several(y), ends(model), strict=True):
            assert_close(a, b if end else b.transpose(0, 1), 0.0)
        assert_close(after_, after, 0.0)


@pytest.mark.parametrize(("steps", "rows"), [(0, 3), (4, 0), (0, 0)])
def test_nothing_is_a_sequence_too(steps: int, rows: int) -> None:
    for seed in SEEDS:
        model = compiled(seed)
        for training in (True, False):
            model.train(training)
            arguments = feed(model, steps, rows, seed=seed, ragged=True, reset=True, carry=True)
            y, after = arguments.call(model)
            backward(weighted_sum((y, after)))
            for value, output in zip(several(y), model.graph.outputs, strict=True):
                shape = (rows,) if output.at_end else (steps, rows)
                assert value.shape == (*shape, output.type.size)
            if arguments.state is not None and not steps:
                assert_close(tuple(after), tuple(arguments.state), 0.0)
            model.zero_grad()


def test_steps_one_by_one_are_the_call() -> None:
    for seed in forward_models():
        model = compiled(seed)
        arguments = feed(model, 5, 2, seed=seed)
        begin = random_state(model, 2, seed=seed)
        with torch.no_grad():
            y, after = model(arguments.inputs, begin)
            carried, series = begin, []
            for t in range(5):
                y_t, carried = model.step({k: v[t] for k, v in arguments.inputs.items()}, carried)
                series.append(several(y_t))
        for index, (value, end) in enumerate(zip(several(y), ends(model), strict=True)):
            actual = series[-1][index] if end else torch.stack([s[index] for s in series])
            assert_close(actual, value, ROUNDING, f"spec {seed}")
        assert_close(tuple(carried), tuple(after), ROUNDING, f"spec {seed}")


def check_gradients(seed: int, *, training: bool, fast: bool) -> None:
    spec = random_spec(seed)
    # What passes no gradient has no gradient to compare with.
    text = spec.text.replace("stopgrad(", "identity(")
    model = rnnc.compile(text, backend="reference", parameters=spec.sizes).double()
    randomize_parameters(model, seed).train(training)
    arguments = feed(model, 4, 3, seed=seed, ragged=True, reset=True, carry=True)
    # Zeros and ones tie in `maxout`, where there is no derivative to compare with.
    apart = torch.Generator().manual_seed(seed)
    for name, value in arguments.inputs.items():
        if value.is_floating_point():
            moved = 0.1 * torch.rand(value.shape, generator=apart, dtype=value.dtype)
            arguments.inputs[name] = value + moved
    names = [k for k, p in model.named_parameters() if p.requires_grad]
    real = [k for k, v in arguments.inputs.items() if v.is_floating_point()]
    carried = [v for v in arguments.state or () if v.is_floating_point()]

    def run(*values: Tensor) -> Any:
        parts = iter(values)
        parameters = {name: next(parts) for name in names}
        x = {**arguments.inputs, **{name: next(parts) for name in real}}
        begin = arguments.state
        if begin is not None:
            begin = type(begin)(*(next(parts) if v.is_floating_point() else v for v in begin))
        torch.manual_seed(seed)
        y, after = functional_call(
            model,
            parameters,
            (x, begin),
            {"lengths": arguments.lengths, "resets": arguments.resets},
        )
        return (*several(y), *(v for v in after or () if v.is_floating_point()))

    parameters_by_name = dict(model.named_parameters())
    values = (
        [parameters_by_name[name] for name in names] + [arguments.inputs[k] for k in real] + carried
    )
    leaves = [v.detach().clone().requires_grad_() for v in values]
    if leaves:
        assert torch.autograd.gradcheck(run, leaves, fast_mode=fast), f"spec {seed}"


@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_differences(training: bool) -> None:
    for seed in SEEDS[::3]:
        check_gradients(seed, training=training, fast=True)
    check_gradients(10 + training, training=training, fast=False)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("padded", lambda: test_padding_touches_neither_values_nor_gradients(False)),
        ("read", test_resets_are_separate_sequences),
        ("history", lambda: test_a_sequence_in_parts_is_the_whole("ragged")),
        ("last", test_rows_do_not_know_each_other),
        ("tanh", lambda: check_gradients(0, training=False, fast=True)),
    ],
)
def test_a_planted_fault_is_caught(fault: str, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "padded":
        monkeypatch.setattr(Segments, "repeat_last_step", lambda self, series: series)
    elif fault == "read":
        read = Segments.read_delayed

        def unsegmented(self: Segments, node: int, series: Any, t: int, delay: int) -> Tensor:
            self.start = torch.full_like(self.start, -99)
            return read(self, node, series, t, delay)

        monkeypatch.setattr(Segments, "read_delayed", unsegmented)
    elif fault == "history":
        after = Segments.next_carry

        def too_long(self: Segments, node: int, series: list[Tensor]) -> Tensor:
            self.lengths = torch.full_like(self.lengths, self.call.steps)
            return after(self, node, series)

        monkeypatch.setattr(Segments, "next_carry", too_long)
    elif fault == "last":
        monkeypatch.setattr(
            Segments,
            "last_step",
            lambda self, series: series.sum((0, 1), keepdim=True)[0].expand(
                self.call.batch_size, -1
            ),
        )
    else:
        faults = {
            name: lambda z, f=f: f(z.detach()) + 0.9 * (z - z.detach())
            for name, f in interpreter.UNARY_OPS.items()
            if name not in {"sum", "negate"}
        }
        monkeypatch.setattr(interpreter, "UNARY_OPS", interpreter.UNARY_OPS | faults)
    with pytest.raises((AssertionError, RuntimeError)):
        check()
