"""Generate a whole random spec: inputs, states, results, and the constructs that it owes.

Each seed owes a few pairs of a position and an operand kind, in turn, so that any few hundred
consecutive seeds cover all pairs.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace
from functools import lru_cache

from support.generator.census import PAIRS
from support.generator.expressions import Writer
from support.generator.layers import Layers
from support.generator.operators import define
from support.generator.recipes import RECIPES
from support.generator.results import laws, losses, outputs, predictions
from support.generator.scope import Scope, Series, SpecState
from support.generator.spec import Spec

OWED_PER_SPEC = 6
"""Pairs of a position and an operand kind that one spec must contain."""

_ORDER = list(PAIRS)
random.Random(11).shuffle(_ORDER)
# A loss is one number: specs that owe one have width 1, so group them together.
_ORDER.sort(key=lambda pair: pair[0] == "loss")


def owed_pairs(seed: int) -> list[tuple[str, str]]:
    """Return the pairs that the spec of a seed must contain."""
    return [_ORDER[(OWED_PER_SPEC * seed + index) % len(_ORDER)] for index in range(OWED_PER_SPEC)]


@lru_cache(maxsize=4096)
def random_spec(seed: int) -> Spec:
    """Generate the spec of a seed."""
    rng = random.Random(seed)
    pairs = owed_pairs(seed)
    positions, kinds = {p for p, _ in pairs}, {k for _, k in pairs}
    widths = tuple(rng.choice([(2, 3), (1, 3), (2,), (3, 4), (2, 4), (1,), (3,), (2, 5)]))
    if "loss" in positions:
        widths = (1,)
    elif "split z" in positions and 1 in widths:
        widths = (2, 4)
    world = SpecState(
        rng,
        chance=rng.random() < 0.5 or "call random" in kinds
        or bool(positions & {"dropout z", "variational z", "zoneout new", "zoneout old"}),
        headed=rng.random() < 0.35 or "static" in kinds,
        widths=widths,
    )  # fmt: skip
    scope = Scope(world, [])
    writer = Writer(scope)
    layers = Layers(writer)
    inputs = _inputs(layers, kinds, "loss" in positions)
    _in_bodies(layers, pairs)
    groups = _groups(rng, positions, kinds)
    clean = replace(scope, reads=list(scope.reads), series=dict(scope.series))
    for number, direction in enumerate(groups):
        if direction == "forward" and world.flip(0.3):
            rng.choice(RECIPES)(layers)
        layers.add_group(direction, rng.choice([1, 1, 1, 2, 2, 3]), pairs)
        if number == 0 and direction == "forward":
            clean = replace(scope, reads=list(scope.reads), series=dict(scope.series))
    layers.write_owed(pairs)
    predicts = "prediction" in positions or any(kind.startswith("target") for kind in kinds)
    predicted: list[Series] = []
    if predicts or (groups[0] == "forward" and world.flip(0.5)):
        clean.lines, clean.declared = scope.lines, scope.declared
        predicted = predictions(layers, inputs, clean, pairs)
    laws(layers, pairs)
    losses(layers, predicted, pairs)
    outputs(layers, bool(predicted), pairs)
    if predicted and seed % 4 == 2:
        _unscore(layers, first=seed % 8 == 2)
    return _assemble_spec(seed, layers)


def _unscore(layers: Layers, *, first: bool) -> None:
    """Mark outputs beside a prediction as unscored, and call one `unscored`."""
    for index, line in enumerate(layers.declarations):
        if line.startswith("output "):
            head, end, _ = line.partition(" at end")
            marked = f"{head} unscored{end}" if first else f"{line} unscored"
            layers.declarations[index] = marked.replace("output rest:", "output unscored:")
    lines = layers.scope.lines
    lines[:] = [re.sub(r"^rest = ", "unscored = ", line) for line in lines]


def _groups(rng: random.Random, positions: set[str], kinds: set[str]) -> list[str]:
    """Return the directions of the groups of states, in order of reading."""
    ahead = {"backward state", "next state", "far future", "backward past"} & kinds
    forward_first = "prediction" in positions or any(k.startswith("target") for k in kinds)
    if "state" in positions and ahead:
        return ["backward", "forward"]
    if ahead or "backward state" in positions:
        return ["forward", "backward", *(["forward"] if rng.random() < 0.3 else [])]
    if "backward state" in positions:
        return ["forward", "backward"]
    choices = [["forward"], ["forward"], ["forward", "forward"], ["forward", "backward"]]
    if not forward_first:
        choices += [["backward", "forward"], ["backward"]]
        if kinds & {"state", "old state", "far state"} or "state" in positions:
            choices.pop()
    return rng.choice(choices)


def _inputs(layers: Layers, kinds: set[str], narrow: bool) -> list[Series]:
    """Declare one to three inputs, with the owed types."""
    world, scope = layers.world, layers.scope
    types = [
        name
        for name in ("symbol", "binary", "real")
        if kinds & {name, f"past {name}"}
    ]  # fmt: skip
    if kinds & {"lookup", "target symbol"} and "symbol" not in types:
        types.insert(0, "symbol")
    if "target" in kinds:
        types.insert(0, "real")
    while len(types) < 1 or (len(types) < 3 and world.flip(0.35)):
        types.append(world.rng.choice(["real", "real", "binary", "symbol"]))
    inputs: list[Series] = []
    for name, type_ in zip("xse", types, strict=False):
        width = world.width()
        if type_ == "symbol" and not narrow:
            width = max(2, width)
        if inputs and inputs[-1].role == type_ == "real" and world.flip(0.2):
            # Declare two names on one line.
            head, _, text = layers.declarations.pop().partition(": ")
            layers.declarations.append(f"{head}, {name}: {text}")
            inputs.append(Series(name, inputs[-1].width, "real", -6, 0))
            scope.series[name] = inputs[-1]
            continue
        size = world.size(width)
        plain = type_ == "real" and size == "1"
        layers.declarations.append(f"input {name}: {type_}" + ("" if plain else f"[{size}]"))
        inputs.append(Series(name, width, type_, -6, 0))
        scope.series[name] = inputs[-1]
    return inputs


def _in_bodies(layers: Layers, pairs: list[tuple[str, str]]) -> None:
    """Define operators for owed pairs that only a body can contain."""
    writer = layers.writer
    for pair in [w for w in pairs if w[0] == "result" or w[1] == "operand"]:
        pairs.remove(pair)
        operands = [writer.operand(0)]
        series = list(writer.scope.series.values())
        if pair[1] in {"symbol", "past symbol", "lookup"}:
            operands = [r for r in writer.scope.readable() if r.form == "symbol"][:1]
        if pair[1] in {"scores", "mix", "window"} or pair[0].startswith("window"):
            width = operands[0].width
            of = (0, width) if pair[0] == "window transposed right" else (width, 0)
            if pair[0] == "window right" and not any(s.width == width for s in series):
                layers.add_state(width)
            window = writer.scope.window(*of, symbols=None) or writer.scope.window(
                0, 0, symbols=None
            )
            assert window is not None
            operands.append(window)
        arguments = tuple(operands)
        operator = define(writer.world, "named", arguments, plain=pair[1] != "tuple", owed=pair)
        name = writer.world.fresh_name("z")
        text = f"{operator.name}({', '.join(operand.text for operand in arguments)})"
        if operator.result.form == "vector":
            writer.scope.lines.append(f"{name} = {text}")
            writer.add_names(replace(operator.result, text=name, kind="local"))
        else:
            writer.take_apart(replace(operator.result, text=text))


def _assemble_spec(seed: int, layers: Layers) -> Spec:
    """Assemble the text: definitions and the model, with equations in any order."""
    world, lines = layers.world, list(layers.scope.lines)
    if world.flip(0.3):
        world.rng.shuffle(lines)
    params = [*layers.scope.declared]
    body = "\n".join([*layers.declarations, *params, *lines]).split("\n")
    if world.flip(0.2):
        body.insert(world.rng.randrange(len(layers.declarations)) if layers.declarations else 0,
                    "# what follows is drawn at random")  # fmt: skip
    if not world.headed:
        return Spec(seed, "\n".join([*world.top, *body, ""]), world.sizes)
    header = f"model net({', '.join(['rate = 0.7', *world.statics])}):"
    indented = [f"    {line}" for line in body]
    return Spec(seed, "\n".join([*world.top, header, *indented, ""]), world.sizes)
