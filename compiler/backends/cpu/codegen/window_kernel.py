"""C bodies of kernels that compute one operation on a sliding window (`csrc/sliding_window.h`)."""

from __future__ import annotations

from collections.abc import Iterator

from rnnc.compiler.backends.cpu.schedule.window_access import non_window_operands, window_key
from rnnc.compiler.ir.dataflow import Dataflow, Operand

from .expressions import literal
from .kernel_body import KernelBody


def emit_window_kernel(body: KernelBody) -> Iterator[str]:
    """Write the loop over rows that calls the window function of an operation."""
    layout, flow = body.layout, body.layout.flow
    value = flow.values[body.kernel.values[0]]
    first, last = (int(bound) for bound in value.attributes[:2])
    window_rows, is_scatter = first - last + 1, value.operation == "unmix"
    key = window_key(value)
    assert key is not None
    series = [value.operands[0], value.operands[2]] if is_scatter else value.operands[:1]
    row_operands = non_window_operands(value)
    yield f"    const int32_t *const x = f->slots[{layout.window_slots[key]}];"
    yield f"    real *const to = f->slots[{value.id}];"
    operands = (*(Operand(operand.value) for operand in series), *row_operands)
    yield from body.declare_operands(operands)
    for value_id in dict.fromkeys(operand.value for operand in operands):
        if flow.values[value_id].operation == "constant":
            text = literal(float(flow.values[value_id].attributes[0]))
            yield f"    const real p{value_id}[LANES] = {{{text}}};"
    yield "    for (long n = i0; n < i1; n++) {"
    yield f"        real *const w = to + n * {layout.row_stride(value.id)};"
    yield f"        const int32_t *const where = x + n * {window_rows};"
    arguments = [f"w, where, {window_rows}"]
    for operand in series:
        arguments += _series_arguments(body, flow, operand)
    arguments += [body.row_address(operand) for operand in row_operands]
    name = value.operation
    if is_scatter or flow.values[value.operands[0].value].shape:
        width = flow.values[row_operands[0].value].shape[0] if name == "scores" else value.shape[0]
        arguments.append(str(width))
    elif name in {"scores", "mix"}:
        name = f"symbol_{name}"
    yield f"        window_{name}({', '.join(arguments)});"
    yield "    }"


def _series_arguments(body: KernelBody, flow: Dataflow, operand: Operand) -> list[str]:
    """Return a series by its first row and row stride; symbols by their first and their number."""
    value = flow.values[operand.value]
    if not value.shape:
        sizes = {variable.name: variable.type.size for variable in flow.graph.inputs}
        return [f"p{value.id}", str(sizes[str(value.attributes[0])])]
    if value.rate != "step":
        return [body.row_address(Operand(operand.value)), "0"]
    return [f"p{value.id}", str(body.layout.row_stride(value.id))]
