"""Small sizes of zoo models, for slow tests."""

from __future__ import annotations

import re

from rnnc.operators.sources.zoo import ZOO

SMALL_SIZES = {
    "hidden": 6,
    "notes": 3,
    "embed": 5,
    "links": 3,
    "width": 5,
    "output_width": 5,
    "granule": 7,
    "purkinje": 4,
    "vocab": 6,
    "window": 2,
}


def small_sizes(name: str, **overrides: int) -> dict[str, int]:
    """Return small values for the size parameters of a zoo model.

    Models of notes stay models of notes: `vocab` is set only if its default is not 0.
    """
    text = (ZOO / f"{name}.rnn").read_text(encoding="utf-8")
    head = text[text.index("\nmodel ") :].partition("):")[0]
    defaults = dict(re.findall(r"(\w+) = ([^,\s)]+)", head))
    return {
        size: overrides.get(size, value)
        for size, value in SMALL_SIZES.items()
        if size in defaults and defaults[size] != "0"
    }
