"""Estimate sizes of labels and boxes without a font: upper bounds for common sans-serifs."""

from __future__ import annotations

import unicodedata
from typing import Final

from rnnc.runtime.diagrams.model.diagram import Box
from rnnc.runtime.diagrams.model.labels import Label

LABEL_SIZE: Final = 13.0
"""Font size of a label; notes and subscripts are smaller."""

NOTE_SIZE: Final = 9.5
LINE_HEIGHT: Final = 13.0
_NARROW: Final = frozenset("iljtfrI1.,;:'′|[]()!⁻¹ ")
_WIDE: Final = frozenset("mwMWΣ⊕▷⊙×→≈@%")


def label_width(label: Label, size: float) -> float:
    """Return the width of a label in points."""
    total = 0.0
    for run in label:
        scale = size if run.style in {"plain", "italic"} else size * 0.72
        total += scale * sum(_advance(character) for character in run.text)
    return total


def _advance(character: str) -> float:
    if character in _NARROW:
        return 0.40
    if character in _WIDE or unicodedata.east_asian_width(character) in {"W", "F"}:
        return 1.0
    return 0.72 if character.isupper() else 0.62


def box_size(box: Box) -> tuple[float, float]:
    """Return width and height of a box in points, margins included."""
    if box.role in {"past", "future"}:
        frames = 6.0 if box.role == "future" else 0.0  # room for its second outline
        return max(30.0, label_width(box.label, LABEL_SIZE) + 12) + frames, 24.0 + frames
    label = label_width(box.label, LABEL_SIZE)
    if box.role == "point":
        side = max(24.0, label + 10)
        return side, 24.0
    lines = max([label, *(label_width(note, NOTE_SIZE) for note in box.notes)])
    height = 15.0 + LINE_HEIGHT + 12.0 * len(box.notes)
    if box.role == "operator":
        label = label_width(box.label, LABEL_SIZE * 1.5)
        return max(46.0, label + 20, lines + 16), 46.0 + 4.0 * len(box.notes)
    return max(34.0, lines + 16), height
