"""A model as a Python module and the C file beside it: both texts."""

from __future__ import annotations

import dataclasses
import hashlib
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...grammar.version import __version__
from ...operators.graph import OperatorGraph
from ...operators.program import Program as Spec
from ..backends.backend import Options
from ..backends.cpu.emit import shared_text
from ..backends.cpu.program import Program
from ..backends.cpu.toolchain import VECTOR_BYTES, Level
from .exported import Names, Written
from .link import Linker
from .literals import Code, Literals
from .modules import Key, Outer
from .programs import Usual, loss_programs, unit_in_words, usual_programs
from .source import Writer

_HERE: Final = __package__
_CPU: Final = "rnnc.compiler.backends.cpu"

_REPLACED: Final = {
    Key("rnnc.grammar.diagnostics", "fail"): Key(f"{_HERE}.standin", "fail"),
    Key(f"{_CPU}.cache", "user_cache"): Key(f"{_HERE}.standin", "user_cache"),
    Key("rnnc.compiler.backends.registry", "Backends"): Key(f"{_HERE}.exported", "Backends"),
    Key("rnnc.compiler.backends.twice", "differentiable_gradients"): Key(
        f"{_HERE}.standin", "first_only"
    ),
}
_BASE: Final = Key("rnnc.compiler.module", "CompiledRNN")
_ROOTS: Final = (
    _BASE,
    *(
        Key(f"{_HERE}.exported", name)
        for name in ("Backends", "Choice", "Exported", "Kernels", "Names", "Written", "spec_of")
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
    programs = usual_programs(graph, options, level)
    terms = () if graph.losses is None else loss_programs(graph.losses.graph, options, level)
    functions, c = _kernels((*programs, *terms), graph.name, level, name)
    linker = Linker(
        _REPLACED, _classes_in([graph, *(p for u in (*programs, *terms) for p in u.pair)])
    )
    linker.attributes.update(_PUBLIC)
    for key in _ROOTS:
        linker.add(key)
    _link_data(linker, [graph, *(u.double.layout for u in (*programs, *terms))])
    writer = Writer(linker, frozenset({*_OWN, *(u.name for u in (*programs, *terms))}))
    literals = Literals(writer)
    own = "\n\n".join(_model(literals, graph, programs, terms, functions))
    shared = "\n\n".join(writer.sections())
    end = "\n\n".join(_end(writer, graph, programs, terms, hashlib.sha256(c.encode()).hexdigest()))
    head = "from __future__ import annotations\n\n" + writer.imported()
    about = _docstring(_about(graph, spec, name))
    return Exported(f"{about}\n\n{head}\n\n{own}\n\n{shared}\n\n{end}", c)


def _kernels(
    programs: Iterable[Usual], model: str, level: Level, name: str
) -> tuple[dict[str, dict[int, str]], str]:
    """For each program the C functions of its units, and the C file that holds them."""
    known: dict[tuple[str, str], str] = {}
    functions: dict[str, dict[int, str]] = {}
    texts: tuple[list[str], list[str]] = ([], [])
    for usual in programs:
        functions[usual.name] = {}
        for unit in usual.double.layout.units:
            if unit.outside:
                continue
            own = usual.double.emitter.function(unit)
            pair = [p.emitter.unit_text(unit) for p in usual.pair]
            # Programs have many units in common.
            key = (pair[0].replace(own, "unit"), pair[1].replace(own, "unit"))
            if key not in known:
                known[key] = own
                words = unit_in_words(usual.double.layout.flow, unit)
                comment = textwrap.fill(words, 96, initial_indent="// ", subsequent_indent="// ")
                for text, into in zip(pair, texts, strict=True):
                    into.append(f"{comment}\n{text}")
            functions[usual.name][unit.number] = known[key]
    head = (
        f"// {name}.c: the kernels of the model `{model}`, written by rnnc {__version__} for "
        f"{name}.py,\n// which compiles them with IS_DOUBLE 0 (float32) and 1 (float64).\n"
        "#if IS_DOUBLE\n#define REAL double\n#define INTEGER int64_t\n"
        "#else\n#define REAL float\n#define INTEGER int32_t\n#endif\n"
        f"#define VECTOR_BYTES {VECTOR_BYTES[level]}\n\n"
    )
    double, single = ("\n".join(text) for text in texts)
    return (
        functions,
        f"{head}{shared_text()}\n#if IS_DOUBLE\n\n{double}\n#else\n\n{single}\n#endif\n",
    )


def _model(
    literals: Literals,
    graph: OperatorGraph,
    programs: tuple[Usual, ...],
    terms: tuple[Usual, ...],
    functions: Mapping[str, dict[int, str]],
) -> Iterator[str]:
    """The model's own part: its graph, and its programs."""
    name = literals.writer.name(Key("rnnc.operators.graph", "OperatorGraph"))
    yield (
        f'def graph() -> {name}:\n    """Inputs, states, outputs and parameters of the model."""\n'
        f"    return {literals.write(graph, graph, 4)}\n"
    )
    literals.known[id(graph)] = "GRAPH"
    if graph.losses is not None:
        literals.known[id(graph.losses.graph)] = "GRAPH.losses.graph"
    for usual in (*programs, *terms):
        yield _program(literals, usual, functions[usual.name])


def _program(literals: Literals, usual: Usual, functions: dict[int, str]) -> str:
    pair = [_written(literals.writer, program, functions) for program in usual.pair]
    name = literals.writer.name(Key(f"{_HERE}.exported", "Written"))
    what = "`loss` terms" if usual.name.startswith("loss_") else "calls"
    if len(usual.modes) == 1 and not usual.name.startswith("loss_"):
        what += " in training" if usual.modes[0] else " in evaluation"
    return (
        f"def {usual.name}(double: bool) -> {name}:\n"
        f'    """Plan of {what} {usual.about}, in float64 if `double`, else in float32."""\n'
        f"    return {literals.write(*pair, 4)}\n"
    )


def _written(writer: Writer, program: Program, functions: dict[int, str]) -> Written:
    written = Written(
        program.layout,
        Names(functions, program.emitter.vectors),  # type: ignore[arg-type]
        Code("double"),  # type: ignore[arg-type]
        Code(f"{writer.name(Key(f'{_CPU}.toolchain', 'machine_level'))}()"),  # type: ignore[arg-type]
        kernels=Code("KERNELS"),  # type: ignore[arg-type]
    )
    for name in writer.linker.worked_out(Program):
        vars(written)[name] = getattr(program, name)
    return written


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
        for name in ("Backends", "Choice", "Exported", "Kernels", "spec_of")
    }
    path = writer.use(Outer("pathlib", "Path", "Path"))
    spec = writer.name(Key("rnnc.operators.program", "Program"))
    lines = [
        f"# The model {graph.name}: all of the above put together.",
        "",
        "GRAPH = graph()",
        f"SPEC = {spec}({own['spec_of']}(__doc__), {graph.name!r})",
        f'KERNELS = {own["Kernels"]}({path}(__file__).with_suffix(".c"), "{digest}")',
    ]
    for name, usual in (("GRAPH", programs), ("GRAPH.losses.graph", terms)):
        if usual:
            lines.append(f"{own['Backends']}.made[{name}.name] = {own['Exported']}(")
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


def _about(graph: OperatorGraph, spec: Spec, name: str) -> str:
    width = max((len(p.name) for p in graph.parameters), default=0)
    parameters = "\n".join(
        f"    {p.name:{width}}  {' × '.join(map(str, p.shape))}" + (", frozen" if p.frozen else "")
        for p in graph.parameters
    )
    bound = ", ".join(f"{key} = {value}" for key, value in spec.parameters.items())
    return (
        f"The recurrent network `{graph.name}`, exported by rnnc {__version__}.\n\n"
        "It needs torch and a C compiler (what CC names, else cc, gcc or clang), and not rnnc. The\n"
        f"kernels in {name}.c, beside this file, are compiled when they are first needed.\n\n"
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


def _docstring(text: str) -> str:
    if "\\" in text and '"""' not in text:
        return f'r"""{text}"""'
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""{escaped}"""'


def _classes_in(values: Iterable[Any]) -> frozenset[Key]:
    """The classes of all data."""
    found: dict[type, None] = {}
    seen: set[int] = set()

    def look(value: Any) -> None:
        if isinstance(value, tuple | list | frozenset):
            for item in value:
                look(item)
        elif isinstance(value, Mapping):
            look(tuple(value.values()))
        elif (
            dataclasses.is_dataclass(value)
            and not isinstance(value, type)
            and id(value) not in seen
        ):
            seen.add(id(value))
            found.setdefault(type(value))
            for known in dataclasses.fields(value):
                look(getattr(value, known.name))

    look(tuple(values))
    return frozenset(Key(kind.__module__, kind.__qualname__) for kind in found)


def _link_data(linker: Linker, values: Iterable[Any]) -> None:
    """Add the classes of those data that are written down."""
    kept = tuple(values)
    before = -1
    while before != len(linker.entries):
        before = len(linker.entries)
        for key in _kept_classes(linker, kept):
            linker.add(key)


def _kept_classes(linker: Linker, value: Any) -> Iterator[Key]:
    if isinstance(value, tuple | list | frozenset):
        for item in value:
            yield from _kept_classes(linker, item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        key = Key(type(value).__module__, type(value).__qualname__)
        yield key
        names = [f.name for f in dataclasses.fields(value)]
        for name in (*linker.kept_fields(key, names), *linker.worked_out(type(value))):
            yield from _kept_classes(linker, getattr(value, name))
