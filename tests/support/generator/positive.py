"""Write values well above zero, of many kinds, for logarithms, roots and divisors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from support.generator.text import PRODUCT, RUN, SUM, Text

if TYPE_CHECKING:
    from support.generator.expressions import Writer


def positive(writer: Writer, width: int, kind: str = "") -> Text:
    """Write a positive value of a kind, or of a random one."""
    kinds = [k for k in KINDS if k not in {"local", "part"} or not writer.in_loss]
    kinds = [k for k in kinds if k != "static" or writer.statics()]
    return KINDS[kind if kind in kinds else writer.rng.choice(kinds)](writer, width)


def _dense(writer: Writer, width: int) -> Text:
    """Write a value without missing entries, which a window could leave."""
    inner = writer.operand(0)
    return Text(f"{writer.scope.matrix(width, inner.width, known=True)} {inner.item}", width, RUN)


def _any(writer: Writer, width: int) -> Text:
    inner = _dense(writer, width)
    return Text(f"{writer.rng.choice(['softplus', 'σ', 'softmax'])}({inner.text})", width)


def _call(function: str) -> Callable[[Writer, int], Text]:
    def write(writer: Writer, width: int) -> Text:
        return Text(f"{function}({_dense(writer, width).text})", width)

    return write


def _sum_of(writer: Writer, width: int) -> Text:
    return Text(f"sum({_any(writer, width).text})", 1)


def _sum(writer: Writer, width: int) -> Text:
    return Text(f"2 + tanh({_dense(writer, width).text})", width, SUM)


def _product(writer: Writer, width: int) -> Text:
    return Text(f"2 * {_any(writer, width).text}", width, PRODUCT)


def _quotient(writer: Writer, width: int) -> Text:
    return Text(f"{_any(writer, width).text} / 2", width, PRODUCT)


def _stopgrad(writer: Writer, width: int) -> Text:
    return Text(f"stopgrad({_any(writer, width).text})", width)


def _vector(writer: Writer, width: int) -> Text:
    return Text(writer.scope.vector_parameter(width, known=True, start=", constant(1)"), width)


def _number(writer: Writer, width: int) -> Text:
    return Text("1.5", 1)


def _static(writer: Writer, width: int) -> Text:
    return Text("rate", 1)


def _concatenation(writer: Writer, width: int) -> Text:
    first = _any(writer, 1)
    if width == 1:
        return Text(f"([{first.text}])", 1)
    inner = _dense(writer, width - 1)
    return Text(f"[{first.text} ; softplus({inner.text})]", width)


def _local(writer: Writer, width: int) -> Text:
    value, name = _any(writer, width), writer.world.fresh_name("z")
    writer.scope.lines.append(f"{name} = {value.text}")
    writer.add_names(Text(name, width, kind="local"))
    return Text(name, width)


def _part(writer: Writer, width: int) -> Text:
    inner = _dense(writer, width + 1)
    p, q = writer.world.fresh_name("p"), writer.world.fresh_name("q")
    writer.scope.lines.append(f"({p}, {q}) = split(softmax({inner.text}), {width}, 1)")
    parts = Text(p, width, kind="part"), Text(q, 1, kind="part")
    writer.add_names(*parts)
    return parts[0]


def _fixed(writer: Writer, width: int) -> Text:
    return Text(f"softplus({writer.scope.vector_parameter(width, known=True)})", width)


KINDS: dict[str, Callable[[Writer, int], Text]] = {
    "call elementwise": _call("softplus"),
    "call same": _call("softmax"),
    "call scalar": _sum_of,
    "sum": _sum,
    "elementwise product": _product,
    "quotient": _quotient,
    "call stopgrad": _stopgrad,
    "vector": _vector,
    "number": _number,
    "static": _static,
    "concatenation": _concatenation,
    "local": _local,
    "part": _part,
    "fixed": _fixed,
}
