"""The docstring of an exported module: what it is, how it is used, its parameters, its spec."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ...grammar.version import __version__
from ...operators.graph import OperatorGraph
from ...operators.program import Program as Spec


def about(graph: OperatorGraph, spec: Spec, name: str) -> str:
    """The text; the spec comes last."""
    width = max((len(p.name) for p in graph.parameters), default=0)
    parameters = "\n".join(
        f"    {p.name:{width}}  {' × '.join(map(str, p.shape))}" + (", frozen" if p.frozen else "")
        for p in graph.parameters
    )
    bound = ", ".join(f"{key} = {value}" for key, value in spec.parameters.items())
    return (
        f"The recurrent network `{graph.name}`, exported by rnnc {__version__}.\n\n"
        "It needs torch and a C compiler (what CC names, else cc, gcc or clang), and not rnnc.\n"
        f"The kernels in {name}.c, beside this file, are compiled when they are first needed.\n\n"
        f"    from {name} import Model\n\n"
        "    model = Model()  # a torch.nn.Module, with the state_dict of rnnc's\n"
        f"    y, state = model(x)  # {'; '.join(_inputs(graph))}\n\n"
        "First comes what is this model's own, then what runs it, which is rnnc's own code.\n\n"
        + (f"Parameters:\n\n{parameters}\n\n" if parameters else "")
        + (f"With {bound}.\n\n" if bound else "")
        + "The spec:\n\n"
        + textwrap.indent(spec.text.strip("\n"), "    ")
        + "\n"
    )


def _inputs(graph: OperatorGraph) -> Iterator[str]:
    for variable in graph.inputs:
        shape = (
            "(T, B) of symbols"
            if variable.type.kind == "symbol"
            else f"(T, B, {variable.type.size})"
        )
        yield f"{variable.name}: {shape}"


def docstring(text: str) -> str:
    """A text as a literal."""
    if "\\" in text and '"""' not in text:
        return f'r"""{text}"""'
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""{escaped}"""'
