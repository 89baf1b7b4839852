"""Fixed patterns of specs: templates, loops, library cells, pointers."""

from __future__ import annotations

from collections.abc import Callable

from support.generator.layers import Layers
from support.generator.operators import DIGITS, define
from support.generator.scope import Series
from support.generator.text import Text

DEEP = (
    "operator deep(x: real[m], h: real[n], layers = 2, act = {act}, shortcut = 0, gain = 1.0):",
    "    z_1: real[n] = act(W_1 h + U_1 x + b_1)",
    "    for l in 2..layers:",
    "        if {condition}:",
    "            z_l: real[n] = gain * act(W_l z_{{l-1}} + S_l h + Q_l x + b_l)",
    "        else:",
    "            z_l: real[n] = act(W_l z_{{l-1}} + b_l)",
    "    z_{{layers}}",
)
COMPARISONS = (
    "shortcut == 1", "shortcut", "layers > 3", "l >= 3", "shortcut != 0", "layers < 3", "l <= 2",
    "l % 2 == 0", "l // 2 > 1", "l % 5 % 2 == 1", "2 * l // 2 // 1 > 2", "not shortcut",
    "not not l > 2",
)  # fmt: skip
OPTIONS = ("layers = 1", "layers = 3", "layers = 2**2 - 1", "layers = 5 // 2", "layers = 3 % 4")
OTHERS = ("act = sin", "shortcut = 1", "gain = 0.7", "act = softsign", "gain = 1 / 2")


def condition(layers: Layers, comparisons: tuple[str, ...] = COMPARISONS) -> str:
    """Write a static condition of one or several comparisons."""
    rng = layers.world.rng
    first, second, third = (rng.choice(comparisons) for _ in range(3))
    return rng.choice([
        first, first, f"{first} or {second}", f"{first} and {second}",
        f"{first} or {second} or {third}", f"{first} and {second} and {third}",
    ])  # fmt: skip


def symbol(layers: Layers) -> str:
    """Return an unused infix operator."""
    layers.world.symbols += 1
    return layers.world.rng.choice("⊕⊗⊖⊞⊠") + str(layers.world.symbols).translate(DIGITS)


def real_operand(layers: Layers) -> Text:
    """Write an operand that is no symbol."""
    return layers.writer.operand(0)


def template(layers: Layers) -> None:
    """Define one operator with loops and conditions for several symbols."""
    world = layers.world
    if "deep" not in layers.unique:
        layers.unique.add("deep")
        values = {"act": world.rng.choice(["tanh", "σ", "softsign"])}
        values["condition"] = condition(layers)
        world.top += [line.format(**values) for line in DEEP]
    chosen = world.rng.sample(OTHERS, world.rng.randint(0, 2))
    chosen = list({option.split()[0]: option for option in chosen}.values())
    if world.flip(0.6):
        chosen.append(world.rng.choice(OPTIONS))
    names = [symbol(layers) for _ in range(world.rng.choice([1, 2, 3]))]
    world.top.append(f"operator {', '.join(names)} = deep({', '.join(chosen)})")
    for name in names:
        state = layers.declare("forward")
        operand = real_operand(layers)
        layers.scope.lines.append(f"{state.name}' = {operand.at(1)} {name} {state.name}")
        layers.mark_set(state)


def library(layers: Layers) -> None:
    """Use cells from the library, with one or two states each."""
    world = layers.world
    if "use" in layers.unique:
        return
    layers.unique.add("use")
    cells = world.rng.sample(["lstm", "gru", "gru_before", "mgu"], world.rng.choice([1, 1, 2, 3]))
    world.top.insert(0, f"use {', '.join(cells)} from gated")
    for cell in cells:
        name = symbol(layers)
        options = world.rng.choice(["", "", "(forget = 1)"]) if cell == "lstm" else ""
        world.top.append(f"operator {name} = {cell}{options}")
        # At width one the gates' width would be ambiguous.
        states = [layers.declare("forward", max(2, world.width()))]
        operand = layers.writer.operator_argument()
        if cell == "lstm":
            states.append(layers.declare("forward", states[0].width))
            h, c = (state.name for state in states)
            line = f"({h}', {c}') = {operand.at(1)} {name} ({h}, {c})"
        else:
            line = f"{states[0].name}' = {operand.at(1)} {name} {states[0].name}"
        layers.scope.lines.append(line)
        layers.mark_set(*states)


def stack(layers: Layers) -> None:
    """Write layers with `for` in the model."""
    world, width = layers.world, layers.world.width()
    if "stack" in layers.unique:
        return
    layers.unique.add("stack")
    count = world.rng.randint(2, 3)
    bound = str(count)
    if world.headed:
        world.statics.append(f"depth = {count}")
        bound = "depth"
    operand = real_operand(layers)
    world.top.append("operator fold(x, h) = tanh(W h + U x + b)")
    layers.declarations += [f"for l in 1..{bound}:", f"    state j_l: real[{width}]"]
    if world.flip(0.5):
        layers.declarations += [f"for l in 1..{bound}:", "    operator ⊛_l = fold"]
        apply = world.rng.choice(["w_{l-1} ⊛_l j_l", "w_{l-1} ⊛_{l} j_l"])
    else:
        apply = world.rng.choice(["w_{l-1} ⊕_{l+100} j_l", "w_{l-1} ⊕_{100}_{l} j_l"])
    top = "w_l = j_l'"
    if world.flip(0.3):
        top = f"w_l: real[{width}] = ▷_{{l+40}} j_l' + j_l'"
    lines = [f"w_0 = {operand.text}", f"for l in 1..{bound}:", f"    j_l' = {apply}"]
    if world.flip(0.5):
        lines += [
            f"    if l == {bound}:",
            "        w_l = j_l' * 0.5",
            "    else:",
            f"        {top}",
        ]
    else:
        lines.append(f"    {top}")
    layers.scope.lines.append("\n".join(lines))
    last = Text(f"w_{count}", width, kind="local")
    layers.scope.reads.append(last)
    layers.scope.series["j_1"] = Series("j_1", width, "forward", -3, 0)
    state = layers.declare("forward")
    layers.set_state(state, layers.scope.squash(layers.writer.fit(last, state.width, known=False)))


def attention(layers: Layers) -> None:
    """Add a state that attends to its own past."""
    state = layers.declare("forward")
    world, writer, width = layers.world, layers.writer, state.width
    rows, window = world.rng.randint(1, 4), world.fresh_name("M")
    layers.scope.lines.append(f"{window} = {state.name}[t-{rows}..t-1]")
    query = writer.vector(width, 1)
    fed = writer.vector(width, 1)
    text = f"{window}ᵀ softmax({window} ({query.text})) + {fed.at(2)}"
    layers.set_state(state, layers.scope.squash(Text(text, width, 1)))


def pointer(layers: Layers) -> None:
    """Add the logarithm of a mixture of computed values and a pointer into a symbol window."""
    world, writer, scope = layers.world, layers.writer, layers.scope
    symbols = [s for s in scope.series.values() if s.is_symbol]
    if not symbols:
        attention(layers)
        return
    chosen = world.rng.choice(symbols)
    n = chosen.width
    window = scope.window(n, 0, symbols=True)
    assert window is not None
    query = writer.vector(n, 1, known=True)
    name = world.fresh_name("z")
    match world.rng.randint(0, 3):
        case 0:
            share, remainder = world.fresh_name("p"), world.fresh_name("q")
            scores = f"[{window.text} ({query.text}) ; {writer.scalar().text}]"
            scope.lines.append(
                f"({share}, {remainder}) = split(softmax({scores}), {window.rows}, 1)"
            )
            gate = f"{remainder} * softmax({writer.vector(n, 0, known=True).text})"
            value = Text(f"log({gate} + {window.text}ᵀ {share})", n)
            scope.reads += [Text(share, window.rows, kind="part"), Text(remainder, 1, kind="part")]
        case 1:
            weights = f"softmax({window.text} ({query.text}))"
            met = chosen.at(world.rng.choice([0, -1]), world.rng)
            value = Text(f"log(0.5 + dot({weights}, {window.text} {met}))", 1)
        case 2:
            value = Text(f"log(0.2 + sum(σ({query.text})) * exp(tanh({query.text})))", n)
        case _:
            scores = f"tanh({window.text} ({query.text}))"
            value = Text(f"{window.text}ᵀ {scores}", n)
    scope.lines.append(f"{name}: real[{value.width}] = {value.text}")
    scope.reads.append(Text(name, value.width, kind="local"))


def choice(layers: Layers) -> None:
    """Add a local chosen by a static condition."""
    world, writer, width = layers.world, layers.writer, layers.world.width()
    name = world.fresh_name("z")
    numbers = ("2 > 1", "3 % 2 == 0", "2 * 3 // 4 < 1", "5 <= 2**2", "not 1 != 1", "not not 7 >= 7")
    chosen = [writer.vector(width, 1, known=True).text for _ in range(2)]
    lines = [f"if {condition(layers, numbers)}:", f"    {name} = {chosen[0]}"]
    lines += ["else:", f"    {name} = {chosen[1]}"]
    layers.scope.lines.append("\n".join(lines))
    layers.scope.reads.append(Text(name, width, kind="local"))


def chain(layers: Layers) -> None:
    """Apply one operator twice in a row, and define two prefix symbols at once."""
    world, writer, width = layers.world, layers.writer, layers.world.width()
    operands = [writer.vector(width, 1, known=True) for _ in range(3)]
    operator = define(world, "infix", (operands[0], operands[1]), result=(width,))
    text = f" {operator.name} ".join(operand.at(1) for operand in operands)
    half, name = world.fresh_name("f"), world.fresh_name("z")
    world.symbols += 2
    pair = [f"△{str(world.symbols - i).translate(DIGITS)}" for i in range(2)]
    world.top.append(f"operator {half}(x) = 0.5 * x * 1 ⊙ tanh(x,)")
    world.top.append(f"operator {pair[0]}, {pair[1]} = {half}")
    layers.scope.lines.append(f"{name}: real[{width}] = {pair[0]} {pair[1]} ({text})")
    layers.scope.reads.append(Text(name, width, kind="local"))


def declared_together(layers: Layers) -> None:
    """Declare several states and parameters on one line each."""
    world, width = layers.world, layers.world.width()
    states = [layers.declare("forward", width) for _ in range(world.rng.choice([2, 3]))]
    del layers.declarations[-len(states) :]
    start = world.rng.choice(["", " = learned", " = -0.5"])
    names = ", ".join(state.name for state in states)
    layers.declarations.append(f"state {names}: real[{width}]{start}")
    first, second, third = world.fresh_name("a"), world.fresh_name("a"), world.fresh_name("a")
    annotation = world.rng.choice(["", ", uniform(0.5, 1.5)"])
    third_name = f", {third}" if world.flip(0.5) else ""
    layers.scope.declare(f"{first}, {second}{third_name}: real[{width}]{annotation}")
    vectors = [
        Text(n, width, kind="vector") for n in (first, second, *([third] if third_name else []))
    ]
    layers.scope.reads += vectors
    for state, vector in zip(states, [*vectors, vectors[0]], strict=False):
        value = layers.writer.vector(width, 1)
        layers.set_state(state, Text(f"tanh({value.text}) ⊙ {vector.text}", width, 2))


RECIPES: tuple[Callable[[Layers], None], ...] = (
    template, template, library, stack, attention, pointer, pointer, choice, chain,
    declared_together,
)  # fmt: skip
