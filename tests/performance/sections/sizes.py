"""Benchmark sizes, with their sources."""

from __future__ import annotations

from dataclasses import dataclass

LAYER_SIZES = (
    (128, 16, 100),
    (128, 64, 100),
    (256, 16, 100),
    (256, 64, 200),
    (400, 32, 100),
    (512, 64, 100),
)
"""(H, B, T) of layers compared with torch.nn; 88 inputs, as in the music data."""

TRANSITION_SIZES = ((128, 8), (400, 8), (128, 32), (400, 32))
"""(H, B) of the deep transition with shortcuts, T = 100."""

CELLS = ("lstm", "gru", "rnn", "dts_rnn", "dots_rnn", "rhn")
"""Zoo cells that torch.compile gets, too; H = 128, B = 8, T = 100."""

SCANS = ("mingru", "sru", "qrnn")
"""Linear recurrences of the zoo, which compile to scans."""


@dataclass(frozen=True, slots=True)
class PaperSize:
    """A network of Pascanu et al. (2014), Table 1; `weights` as printed there, without biases."""

    data: str
    network: str
    spec: str
    parameters: dict[str, int]
    weights: int
    steps: int


def _music(data: str, network: str, spec: str, hidden: int, weights: int) -> PaperSize:
    return PaperSize(data, network, f"zoo:{spec}", {"hidden": hidden}, weights, 100)


PAPER = (
    _music("Nottingham", "RNN", "rnn", 600, 465_600),
    _music("Nottingham", "DT(S)", "dts_rnn", 400, 585_600),
    _music("Nottingham", "DOT(S)", "dots_rnn", 400, 745_600),
    _music("Nottingham", "sRNN", "srnn", 400, 550_400),
    _music("JSB Chorales", "RNN", "rnn", 200, 75_200),
    _music("MuseData", "sRNN", "srnn", 600, 1_185_600),
    PaperSize("PTB, characters", "RNN", "zoo:rnn", {"hidden": 600, "vocab": 50}, 420_000, 100),
    PaperSize(
        "PTB, characters", "DT(S)", "zoo:dts_rnn", {"hidden": 400, "vocab": 50}, 540_000, 100
    ),
    PaperSize(
        "PTB, characters", "DOT(S)", "zoo:dots_rnn",
        {"hidden": 400, "output_width": 600, "vocab": 50}, 790_000, 100,
    ),
    PaperSize("PTB, characters", "sRNN", "zoo:srnn", {"hidden": 400, "vocab": 50}, 520_000, 100),
    PaperSize("PTB, words", "RNN", "zoo:rnn", {"hidden": 200, "vocab": 10_000}, 4_040_000, 50),
    PaperSize(
        "PTB, words", "DOT(S)", "zoo:dots_rnn", {"hidden": 200, "vocab": 10_000}, 6_160_000, 50
    ),
)  # fmt: skip
"""Table 1 of Pascanu et al. (2014, arXiv 1312.6026): each size that occurs in it, once for each
kind of network and data; JSB and MuseData share the others with Nottingham. T and B are ours."""

WORDS: tuple[tuple[str, dict[str, int], int, int], ...] = (
    ("rnn", {"hidden": 200, "vocab": 10_000}, 16, 50),
    ("dots_rnn", {"hidden": 200, "vocab": 10_000}, 16, 50),
    ("pointer_sentinel_lstm", {}, 8, 35),
)
"""(network of the zoo, its parameters, B, T) with outputs for 10,000 words."""

DEEPBENCH = (
    ("vanilla", 1760, 16, 50),
    ("vanilla", 1760, 64, 50),
    ("lstm", 512, 16, 25),
    ("lstm", 512, 64, 25),
    ("lstm", 1024, 16, 25),
    ("lstm", 1024, 64, 25),
    ("lstm", 2048, 16, 25),
    ("lstm", 1536, 8, 50),
    ("lstm", 256, 16, 150),
    ("lstm", 256, 64, 150),
    ("gru", 512, 32, 1),
)
"""(cell, H, B, T) of the training set of Baidu's DeepBench (github.com/baidu-research/DeepBench,
code/kernels/rnn_problems.h); the input is as wide as H. Left out: what takes two cores a second a
step and more, and its other rows of the same cell and H."""

SWEEPS = {
    "H": tuple((h, 16, 100) for h in (32, 64, 128, 256, 512, 1024)),
    "B": tuple((128, b, 100) for b in (1, 4, 16, 64, 256)),
    "T": tuple((128, 16, t) for t in (10, 100, 400, 1600)),
}
"""(H, B, T) of an LSTM layer with 88 inputs, one of them growing."""
