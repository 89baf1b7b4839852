"""A model as a Python module and the C file beside it: both texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ...operators.graph import OperatorGraph
from ...operators.program import Program as Spec
from ..backends.backend import Options
from ..backends.cpu.toolchain import Level
from ..lower import Unsupported
from .about import about, docstring
from .data import classes_in, link_data
from .description import described, written
from .kernels import kernels
from .link import Linker
from .literals import Literals
from .modules import Key, Outer
from .programs import Usual, loss_programs, usual_programs
from .source import Writer

_HERE: Final = __package__
_CPU: Final = "rnnc.compiler.backends.cpu"

_BACKENDS: Final = "rnnc.compiler.backends"

_REPLACED: Final = {
    Key("rnnc.grammar.diagnostics", "fail"): Key(f"{_HERE}.standin", "fail"),
    Key(f"{_CPU}.cache", "user_cache"): Key(f"{_HERE}.standin", "user_cache"),
    Key(f"{_BACKENDS}.registry", "Backends"): Key(f"{_HERE}.exported", "OneBackend"),
    Key(f"{_BACKENDS}.traced", "run"): Key(f"{_HERE}.exported", "run_call"),
    Key(f"{_BACKENDS}.custom_op", "key_of"): Key(f"{_HERE}.standin", "no_key"),
    Key("rnnc.operators.reference", "run"): Key(f"{_HERE}.standin", "first_only"),
}
_COMPILING: Final = frozenset(
    {"__init__", "__deepcopy__", "__reduce__", "refuses", "plan", "explain", "program", "request"}
)
# What only shares its name with something that is needed.
_LEFT_OUT: Final = frozenset(
    {
        (Key("rnnc.compiler.flow", "Value"), "origin"),
        (Key(f"{_CPU}.program", "Program"), "text"),
        (Key(f"{_CPU}.program", "Program"), "source"),
        (Key("rnnc.compiler.module", "CompiledRNN"), "program"),
        *((Key(f"{_CPU}.backend", "Cpu"), name) for name in _COMPILING),
        (Key(f"{_BACKENDS}.registry", "Backends"), "__init__"),
    }
)
_BASE: Final = Key("rnnc.compiler.module", "CompiledRNN")
_ROOTS: Final = (
    _BASE,
    *(
        Key(f"{_HERE}.exported", name)
        for name in ("OneBackend", "Choice", "Exported", "Kernels", "Names", "Written", "spec_of")
    ),
    Key(f"{_CPU}.toolchain", "machine_level"),
    Key("rnnc.operators.program", "Program"),
)
_PUBLIC: Final = ("forward", "step", "initial_state", "loss", "laws", "batch_first")
_OWN: Final = ("GRAPH", "SPEC", "KERNELS", "Model", "graph", "double")


@dataclass(frozen=True, slots=True)
class Exported:
    """The texts of `NAME.py` and `NAME.c`."""

    python: str
    c: str


def export(graph: OperatorGraph, spec: Spec, options: Options, level: Level, name: str) -> Exported:
    """The module of a model, and the C file beside it, for vectors of one width.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
    """
    if graph.losses is not None and not graph.scored:
        raise Unsupported("a model that `loss` lines alone score")
    own = usual_programs(graph, options, level)
    terms = () if graph.losses is None else loss_programs(graph.losses.graph, options, level)
    programs = (*own, *terms)
    functions, c = kernels(programs, graph.name, level, name)
    pairs = {
        u.name: (written(u.double, functions[u.name]), written(u.single, functions[u.name]))
        for u in programs
    }
    data = (graph, *pairs.values())
    linker = Linker(_REPLACED, classes_in(data), _LEFT_OUT)
    linker.attributes.update(_PUBLIC)
    for key in _ROOTS:
        linker.add(key)
    link_data(linker, data)
    writer = Writer(linker, frozenset({*_OWN, *pairs}))
    parts = [
        *described(Literals(writer), graph, programs, pairs),
        *writer.sections(),
        *_end(writer, graph, own, terms, hashlib.sha256(c.encode()).hexdigest()),
    ]
    # All names that are imported are known by now.
    head = "from __future__ import annotations\n\n" + writer.imported()
    return Exported("\n\n".join([docstring(about(graph, spec, name)), head, *parts]), c)


def _end(
    writer: Writer,
    graph: OperatorGraph,
    programs: tuple[Usual, ...],
    terms: tuple[Usual, ...],
    digest: str,
) -> Iterator[str]:
    """What puts the parts together."""
    own = {
        name: writer.name(Key(f"{_HERE}.exported", name))
        for name in ("OneBackend", "Choice", "Exported", "Kernels", "spec_of")
    }
    path = writer.use(Outer("pathlib", "Path", "Path"))
    spec = writer.name(Key("rnnc.operators.program", "Program"))
    lines = [
        f"# The model {graph.name}: all of the above put together.",
        "",
        "GRAPH = graph()",
        f"SPEC = {spec}({own['spec_of']}(__doc__), {graph.name!r}, {{}}, None, {{}})",
        f'KERNELS = {own["Kernels"]}({path}(__file__).with_suffix(".c"), "{digest}")',
    ]
    for name, usual in (("GRAPH", programs), ("GRAPH.losses.graph", terms)):
        if usual:
            lines.append(f"{own['OneBackend']}.registered[{name}.name] = {own['Exported']}(")
            lines += [f"    {own['Choice']}({u.modes}, {u.name})," for u in usual]
            lines.append(")")
    yield "\n".join(lines) + "\n"
    base = writer.name(_BASE)
    yield (
        f"class Model({base}):\n"
        f'    """The model `{graph.name}`; how it is called, its base class says.\n\n'
        "    batch_first: whether inputs and outputs are (B, T, …) instead of (T, B, …).\n"
        '    """\n\n'
        "    def __init__(self, *, batch_first: bool = False) -> None:\n"
        "        super().__init__(GRAPH, SPEC, batch_first=batch_first)\n"
    )
