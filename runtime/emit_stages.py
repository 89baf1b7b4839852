"""Print the stages of compilation as text, for `--emit`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

from rnnc.grammar.diagnostics.errors import RnnError, fail
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.source import Span
from rnnc.operators.sources.spec_file import read_spec

from .load_graph import load_graph

STAGES: Final = ("syntax", "graph", "adjoint", "plan", "code")


def emit_stage(
    file: str,
    stage: str,
    model: str | None,
    parameters: Mapping[str, int | float],
    *,
    backend: str = "auto",
    memory: str = "save",
    without: Iterable[str] = (),
) -> str:
    """Return the text of one compilation stage.

    Raises:
        RnnError: when the spec is at fault, or no backend here generates code for it (RNN501).
    """
    if stage == "syntax":
        return _emit_syntax(file)
    graph = load_graph(file, model, parameters)
    if stage == "graph":
        return graph.to_text()
    if stage == "code":
        return _emit_code(graph, backend, memory, without)
    from rnnc.compiler.errors import Unsupported
    from rnnc.compiler.pipeline import build_dataflow, build_plan
    from rnnc.compiler.request import training_request

    request = training_request(graph, memory=memory, without=without)  # type: ignore[arg-type]
    try:
        if stage == "adjoint":
            return build_dataflow(graph, request).to_text(adjoint=True)
        return build_plan(graph, request).to_text()
    except Unsupported as error:
        fail("RNN501", f"`{graph.name}` has no plan: {error}", hint="the reference runs it")


def _emit_code(graph: Any, backend: str, memory: str, without: Iterable[str]) -> str:
    import torch

    from rnnc.compiler.backends.backend import Options
    from rnnc.compiler.backends.registry import Backends
    from rnnc.compiler.errors import Unsupported

    options = Options(memory, frozenset(without))  # type: ignore[arg-type]
    backends = Backends(graph, backend, options)
    # Show code also where it cannot run: GPU code on a machine without a GPU, for example.
    chosen = backends.choose(torch.empty(0)) if backend == "auto" else backends.candidates[0]
    generate = getattr(chosen, "code", None)
    if generate is None:
        fail("RNN501", f"backend `{chosen.name}` calls torch and generates no code")
    try:
        return str(generate())
    except Unsupported as error:
        fail("RNN501", f"backend `{chosen.name}` cannot run `{graph.name}`: {error}")


def _emit_syntax(file: str) -> str:
    from rnnc.grammar.parser import parse

    report = Report()
    tree = parse(read_spec(file), report)
    if report.has_errors:
        raise RnnError(tuple(report))
    return "\n".join(_outline(tree, 0)) + "\n"


def _outline(node: Any, depth: int) -> Iterable[str]:
    """Format a tree as an outline: one line for each node, plain fields beside its name."""
    if isinstance(node, tuple):
        for item in node:
            yield from _outline(item, depth)
        return
    indent = "  " * depth
    if not dataclasses.is_dataclass(node):
        yield f"{indent}{node!r}"
        return
    fields: list[str] = []
    children: list[tuple[str, Any]] = []
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if isinstance(value, Span):
            line, column = value.source.position(value.start)
            fields.append(f"{line}:{column}")
        elif isinstance(value, tuple) or dataclasses.is_dataclass(value):
            children.append((field.name, value))
        elif value is not None:
            fields.append(f"{field.name}={value!r}")
    yield f"{indent}{type(node).__name__} {' '.join(fields)}".rstrip()
    for _, value in children:
        yield from _outline(value, depth + 1)


def backend_options(command: Any) -> Any:
    """Add the options that choose the backend, memory policy and passes."""
    for option in reversed(
        (
            click.option("--backend", default="auto", metavar="NAME", help="What to compile for."),
            click.option(
                "--memory",
                type=click.Choice(["save", "recompute"]),
                default="save",
                help="What the backward pass reads: kept, or computed again.",
            ),
            click.option(
                "--without",
                multiple=True,
                metavar="PASS",
                callback=_check_pass_names,
                help="Leave a compiler pass out; may be repeated.",
            ),
        )
    ):
        command = option(command)
    return command


def _check_pass_names(
    ctx: click.Context, option: click.Parameter, names: tuple[str, ...]
) -> tuple[str, ...]:
    from rnnc.compiler.pipeline import PASS_NAMES

    for name in names:
        if name not in PASS_NAMES:
            raise click.BadParameter(
                f"there is no pass `{name}`; passes: {', '.join(PASS_NAMES)}", ctx
            )
    return names
