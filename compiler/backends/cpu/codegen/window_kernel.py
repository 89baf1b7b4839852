"""Windows of time: what tables they need, and the C of a stage that looks through one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rnnc.compiler.backends.cpu.schedule.window_access import non_window_operands, window_key
from rnnc.compiler.ir.dataflow import Dataflow, Operand

from .expressions import literal

if TYPE_CHECKING:
    from .kernel_body import KernelBody


def emit_window_kernel(body: KernelBody) -> Iterator[str]:
    """The body of a stage that computes one operation on a window."""
    layout, flow = body.layout, body.layout.flow
    value = flow.values[body.kernel.values[0]]
    first, last = (int(end) for end in value.attributes[:2])
    rows, unmixed = first - last + 1, value.operation == "unmix"
    key = window_key(value)
    assert key is not None
    ends = [value.operands[0], value.operands[2]] if unmixed else value.operands[:1]
    others = non_window_operands(value)
    yield f"    const int32_t *const x = f->at[{layout.window_slots[key]}];"
    yield f"    real *const to = f->at[{value.id}];"
    reads = (*(Operand(end.value) for end in ends), *others)
    yield from body.declare_operands(reads)
    for number in dict.fromkeys(read.value for read in reads):
        if flow.values[number].operation == "constant":
            text = literal(float(flow.values[number].attributes[0]))
            yield f"    const real p{number}[LANES] = {{{text}}};"
    yield "    for (long n = i0; n < i1; n++) {"
    yield f"        real *const w = to + n * {layout.row_stride(value.id)};"
    yield f"        const int32_t *const where = x + n * {rows};"
    arguments = [f"w, where, {rows}"]
    for end in ends:
        arguments += _series_arguments(body, flow, end)
    arguments += [body.row_address(read) for read in others]
    name = value.operation
    if unmixed or flow.values[value.operands[0].value].shape:
        arguments.append(str(value.shape[0] if name != "scores" else _width(flow, others[0])))
    elif name in {"scores", "mix"}:
        name = f"symbol_{name}"
    yield f"        window_{name}({', '.join(arguments)});"
    yield "    }"


def _series_arguments(body: KernelBody, flow: Dataflow, read: Operand) -> list[str]:
    """A series by its first row and the distance of two, or how many symbols there are."""
    value = flow.values[read.value]
    if not value.shape:
        sizes = {variable.name: variable.type.size for variable in flow.graph.inputs}
        return [f"p{value.id}", str(sizes[str(value.attributes[0])])]
    if value.rate != "step":
        return [body.row_address(Operand(read.value)), "0"]
    return [f"p{value.id}", str(body.layout.row_stride(value.id))]


def _width(flow: Dataflow, read: Operand) -> int:
    return flow.values[read.value].shape[0]
