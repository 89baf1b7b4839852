"""The gallery of the zoo: `python -m rnnc.runtime.diagrams.gallery docs` regenerates it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rnnc.operators.analyze import analyze
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.sources.zoo import zoo_names, zoo_source
from rnnc.runtime.diagrams.levels.diagram_view import DiagramView, build_diagram
from rnnc.runtime.diagrams.model.annotations import format_depths
from rnnc.runtime.diagrams.render.svg import to_svg


@dataclass(frozen=True, slots=True)
class Figure:
    """One picture: a model, a view of it, and its caption."""

    model: str
    file: str
    view: DiagramView
    caption: str


FIGURES: Final = (
    Figure(
        "rnn",
        "figure4_rnn",
        DiagramView("operator", 3),
        "Figure 4 of the paper: ⊕ takes an input and a summary, ▷ predicts, three steps side by "
        "side.",
    ),
    Figure(
        "rnn",
        "figure2_rnn",
        DiagramView("layer", 3),
        "A conventional network: nothing in it is deep.",
    ),
    Figure(
        "dt_rnn",
        "figure2_dt_rnn",
        DiagramView("layer", 3),
        "DT-RNN: ⊕ holds two layers, so the way from a summary to the next is deep.",
    ),
    Figure(
        "dts_rnn",
        "figure2_dts_rnn",
        DiagramView("layer", 3),
        "DT(S)-RNN: the deep transition with shortcuts around its first layer.",
    ),
    Figure(
        "dots_rnn",
        "figure2_dots_rnn",
        DiagramView("layer", 3),
        "DOT(S)-RNN: ▷ holds two layers as well, so the output is deep, too.",
    ),
    Figure(
        "srnn",
        "figure2_srnn",
        DiagramView("layer", 3),
        "sRNN: two summaries, one above the other; each transition on its own is shallow.",
    ),
    Figure(
        "dts_rnn",
        "recurrent_depth",
        DiagramView(measure="recurrent-depth"),
        "Rolled up, the cycle behind the recurrent depth of 2 marked "
        "(`--highlight recurrent-depth`).",
    ),
    Figure(
        "lstm",
        "plan_lstm",
        DiagramView("plan"),
        "The plan of an LSTM (`--level plan`): input products batched over time, the loop, the "
        "output batched after it.",
    ),
    Figure(
        "bilstm",
        "operator_bilstm",
        DiagramView("operator"),
        "Backward in time: z⁺¹, double-framed and dotted.",
    ),
)


def write_gallery(folder: Path) -> list[Path]:
    """Write `gallery.md` and its pictures; return their paths.

    Raises:
        RnnError: RNN650, when pygraphviz is not installed.
    """
    pictures = folder / "gallery"
    pictures.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Gallery",
        "",
        "Every model of the zoo as `rnnc graph` draws it, and the figures of Pascanu et al. (2014,",
        "arXiv 1312.6026). `make gallery` writes this page and its pictures anew. Solid arrows are",
        "values within a step; what is dashed is kept for the next step, through z⁻¹.",
        "",
        "## Figures of the paper, and other views",
    ]
    written: list[Path] = []
    for figure in FIGURES:
        written.append(_write_picture(pictures, figure.file, zoo_graph(figure.model), figure.view))
        lines += ["", figure.caption, "", f"![{figure.model}](gallery/{figure.file}.svg)"]
    lines += ["", "## The zoo"]
    for name in zoo_names():
        graph = zoo_graph(name)
        written.append(_write_picture(pictures, name, graph, DiagramView()))
        depths = "; ".join(format_depths(graph)).removeprefix("depth: ")
        lines += [
            "",
            f"### {name}",
            "",
            *_leading_comment(name),
            "",
            f"![{name}](gallery/{name}.svg)",
        ]
        lines += ["", f"{depths[0].upper()}{depths[1:]}."]
    page = folder / "gallery.md"
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [page, *written]


def zoo_graph(name: str) -> OperatorGraph:
    """Return the graph of a model of the zoo."""
    return analyze(zoo_source(name)).require_graph()


def _write_picture(folder: Path, file: str, graph: OperatorGraph, view: DiagramView) -> Path:
    path = folder / f"{file}.svg"
    path.write_text(to_svg(build_diagram(graph, view)), encoding="utf-8")
    return path


def _leading_comment(name: str) -> list[str]:
    """Return the comment at the top of a zoo model."""
    lines: list[str] = []
    for line in zoo_source(name).text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return lines


if __name__ == "__main__":
    for written in write_gallery(Path(sys.argv[1] if len(sys.argv) > 1 else "docs")):
        print(written)
