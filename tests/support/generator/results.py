"""Generate the results of a model: outputs, predictions, laws and losses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from support.generator.expressions import Writer
from support.generator.layers import Layers
from support.generator.operators import define, show
from support.generator.positive import positive
from support.generator.scope import Scope, Series
from support.generator.text import Text

TYPES = ("real", "real", "binary", "symbol")


def predictions(
    layers: Layers, inputs: Sequence[Series], clean: Scope, owed: list[tuple[str, str]]
) -> list[Series]:
    """Predict some inputs from values independent of them; return these inputs."""
    world, writer = layers.world, Writer(clean)
    chosen = list(inputs[: world.rng.choice([1, 1, 2])])
    if any(kind.startswith("target") for _, kind in owed):
        chosen = list(inputs)
    for pair in [w for w in owed if w[0] == "prediction" and writer.can_write(w[1])]:
        owed.remove(pair)
        value = writer.operand(2, pair[1])
        name = world.fresh_name("x")
        layers.declarations.append(f"input {name}: {layers.type(value.width)}")
        layers.scope.lines.append(f"{name}' = {value.text}")
    for number, series in enumerate(chosen):
        left = f"{series.name}[t+1]" if world.flip(0.2) else f"{series.name}'"
        value = writer.vector(series.width, 2)
        match world.rng.randint(0, 4):
            case 0 if "▷" not in layers.unique:
                layers.unique.add("▷")
                value = Text(f"▷ {writer.operand(0).at(3)}", series.width, 3)
            case 1:
                operand = writer.operand(1)
                operator = define(world, "prefix", (operand,), result=(series.width,))
                value = Text(f"{operator.name} {operand.at(3)}", series.width, 3)
            case 2 if world.headed and series.is_symbol:
                value = _tied(layers, writer, series, number)
            case _:
                pass
        layers.scope.lines.append(f"{left} = {value.text}")
    return chosen


def _tied(layers: Layers, writer: Writer, series: Series, number: int) -> Text:
    """Write a softmax tied to the embedding of the predicted symbol."""
    world, h = layers.world, writer.operand(0)
    table, name = world.fresh_name("E"), f"▷_{900 + number}"
    layers.scope.declare(f"{table}: real[{h.width}, {series.width}]")
    layers.declarations.append(f"operator {name} h = {table}ᵀ h + b")
    return Text(f"{name} ({table} {series.name} + {h.at(2)})", series.width, 3)


def outputs(layers: Layers, predicted: bool, owed: list[tuple[str, str]]) -> None:
    """Declare outputs; the last one reads all unread names."""
    world, writer = layers.world, layers.writer
    output_pairs = [
        w for w in owed if w[0] in {"output", "output at end"} and writer.can_write(w[1])
    ]
    least = 0 if predicted else 1
    count = max(len(output_pairs), world.rng.choice([least, 1, 1, 2]))
    for number in range(count):
        name = f"y{number}" if number else "y"
        if output_pairs:
            position, kind = output_pairs.pop()
            owed.remove((position, kind))
            value = writer.operand(2, kind)
            if kind in {"number", "static"}:
                value = replace(value, width=world.width())  # a constant fills an output
            end = position == "output at end"
        else:
            end = world.flip(0.35)
            value = writer.fit(writer.operand(2), world.width(), known=False)
        _output(layers, name, value, at_end=end)
    waste = _unread(layers)
    if waste or not (count or predicted):
        width = world.width()
        terms = [writer.fit(read, width, known=True).at(2) for read in waste or [writer.operand(0)]]
        if world.flip(0.2):
            when = world.rng.choice(["", " at end"])
            layers.declarations.append(f"output one, two: real[{width}]{when}")
            layers.scope.lines.append(f"(one, two) = ({terms[0]}, {terms[-1]})")
        _output(layers, "rest", Text(" + ".join(terms), width, 1), at_end=world.flip(0.2))


def _output(layers: Layers, name: str, value: Text, *, at_end: bool) -> None:
    world, width = layers.world, value.width
    kind = world.rng.choice(TYPES)
    kind = kind if width > 1 or kind != "symbol" else "real"
    type_ = layers.type(width) if kind == "real" else f"{kind}[{world.size(width)}]"
    end = " at end" if at_end else ""
    layers.declarations.append(f"output {name}: {type_}{end}")
    layers.scope.lines.append(f"{name} = {value.text}")


def _unread(layers: Layers) -> list[Text]:
    """Return states and locals that no line reads."""
    text = "\n".join(layers.scope.lines)
    reads = [r for r in layers.scope.reads if r.form == "vector"]
    unread = [r for r in reads if len(re.findall(rf"(?<!\w){r.text}(?!\w)", text)) < 2]
    for state in layers.states:
        if len(re.findall(rf"(?<!\w){state.name}(?!\w)", text)) < 2:
            unread.append(Text(f"{state.name}'", state.width, kind="state"))
    return unread


def laws(layers: Layers, owed: list[tuple[str, str]]) -> None:
    """Write laws over values without inline windows."""
    world, scope = layers.world, layers.scope
    law_pairs = [
        w for w in owed if w[0] in {"law left", "law right"} and layers.writer.can_write(w[1])
    ]
    for _ in range(max(len(law_pairs), world.rng.choice([0, 0, 1]))):
        timeless = [read for read in scope.reads if read.form != "window"]
        writer = Writer(replace(scope, place="law", reads=timeless))
        if law_pairs:
            position, kind = law_pairs.pop()
            owed.remove((position, kind))
            one = writer.operand(2, kind)
        else:
            position, one = "law left", writer.operand(2)
        other = writer.vector(one.width, 2, known=True)
        sides = (one.text, other.text) if position == "law left" else (other.text, one.text)
        weight = world.rng.choice(["", " weight 0.1", " weight 2", " weight 3 / 4"])
        scope.lines.append(
            f"law {sides[0]} {world.rng.choice(['≈', '≈', '~='])} {sides[1]}{weight}"
        )


def losses(layers: Layers, predicted: Sequence[Series], owed: list[tuple[str, str]]) -> None:
    """Write loss terms, which may read targets of predicted inputs."""
    world, scope = layers.world, layers.scope
    targets = [
        Text(
            f"{s.name}'" if world.flip(0.8) else f"{s.name}[t+1]", s.width,
            form="symbol" if s.is_symbol else "vector",
            kind="target symbol" if s.is_symbol else "target",
        )
        for s in predicted
    ]  # fmt: skip
    for kind in {k for p, k in owed if p == "loss"} & {"local", "part"}:
        positive(layers.writer, 1, kind)  # a local of the model, for a loss to read
    loss_pairs = [w for w in owed if w[0] == "loss" or w[1].startswith("target")]
    known = {target.kind for target in targets}
    loss_pairs = [
        w for w in loss_pairs if w[1] in known or Writer(scope, in_loss=True).can_write(w[1])
    ]
    for number in range(max(len(loss_pairs), world.rng.choice([0, 0, 1]))):
        inner = replace(scope, reads=[*scope.reads, *targets], place="loss", lines=[])
        writer = Writer(inner, in_loss=True)
        value: Text
        if number < len(loss_pairs):
            position, kind = loss_pairs[number]
            owed.remove((position, kind))
            if position == "loss":
                value = _number(writer, kind)
            elif position == "tuple":
                pair = writer.tuple_of([writer.operand(0, kind), writer.operand(0)])
                name, value = writer.operator("named", (pair,))
                value = replace(value, text=f"{name}({pair.text})")
            else:
                value = writer.computed(position, 2, kind)
        else:
            value = writer.operand(2)
        if value.width > 1:
            value = Text(f"sum({value.text})", 1)
        scope.lines += [*inner.lines, f"loss {value.text}{world.rng.choice(['', ' weight 0.5'])}"]


def _number(writer: Writer, kind: str) -> Text:
    """Write operands of a kind until one is a single number."""
    for _ in range(40):
        mark = writer.scope.mark()
        value = writer.operand(2, kind)
        if value.width == 1:
            break
        writer.scope.roll_back(mark)
    return value


__all__ = ["laws", "losses", "outputs", "predictions", "show"]
