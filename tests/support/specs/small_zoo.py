"""Models of the zoo with small sizes, for tests whose every number is slow."""

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


def small_sizes(name: str, **said: int) -> dict[str, int]:
    """Small values for those parameters of a model of the zoo that are sizes of vectors.

    Models of notes stay models of notes: `vocab` counts where it is not 0 by itself.
    """
    text = (ZOO / f"{name}.rnn").read_text(encoding="utf-8")
    head = text[text.index("\nmodel ") :].partition("):")[0]
    found = dict(re.findall(r"(\w+) = ([^,\s)]+)", head))
    return {
        size: said.get(size, value)
        for size, value in SMALL_SIZES.items()
        if size in found and found[size] != "0"
    }
