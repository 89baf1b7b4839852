"""Random calls: how long, how many rows, cut into which segments, going on from what."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

Layout = Literal["plain", "transposed", "strided", "offset", "expanded"]
LAYOUTS: tuple[Layout, ...] = ("plain", "transposed", "strided", "offset", "expanded")


@dataclass(frozen=True)
class Calling:
    """How a model is called; `seed` draws the parameters, the inputs and all that is random.

    lengths: none given, all of them T, or ragged, one of them 0.
    resets: none given, given and all False, or some.
    state: none, what `initial_state` gives, a random one, or what an earlier call left.
    layout: how the inputs lie in memory; `expanded` repeats one row.
    stepwise: by `step`, one step at a time, what is then held against the reference's whole call.
    scored: what a gradient comes back from; `none` runs without gradients, twice.
    """

    seed: int = 0
    steps: int = 3
    rows: int = 2
    lengths: Literal["none", "full", "ragged"] = "none"
    resets: Literal["none", "false", "some"] = "none"
    state: Literal["none", "initial", "random", "carried"] = "none"
    layout: Layout = "plain"
    batch_first: bool = False
    training: bool = True
    stepwise: bool = False
    scored: Literal["all", "outputs", "state", "parameters", "none"] = "all"


def random_calling(seed: int, number: int = 0) -> Calling:
    """The call with a number of a spec's seed; the first is long, cut up, and carries a state."""
    rng = random.Random(1000 * seed + number)
    steps = rng.choice([1, 2, 3, 4, 5, 6, 7, 8])
    calling = Calling(
        seed=seed,
        steps=steps,
        rows=rng.choice([1, 2, 3, 3, 5]),
        lengths=rng.choice(["none", "full", "ragged", "ragged"]),
        resets=rng.choice(["none", "false", "some", "some"]),
        state=rng.choice(["none", "initial", "random", "carried"]),
        layout=rng.choice([*LAYOUTS, "plain", "plain"]),
        batch_first=rng.random() < 0.15,
        training=rng.random() < 0.7,
        scored=rng.choice(["all", "all", "all", "outputs", "state", "parameters"]),
    )
    if number == 0:
        return calling
    match rng.randint(0, 7):
        case 0:
            return replace(calling, steps=0)
        case 1:
            return replace(calling, rows=0)
        case 2:
            return replace(calling, steps=1)
        case 3:
            return replace(calling, stepwise=True, training=False, lengths="none", resets="none")
        case 4:
            return replace(calling, scored="none")
        case _:
            return calling


def simpler(calling: Calling) -> list[Calling]:
    """Calls that have one thing less, the largest step first."""
    found: list[Calling] = []
    plain = Calling(seed=calling.seed)
    for name in ("lengths", "resets", "state", "layout", "batch_first", "stepwise", "scored"):
        value = getattr(plain, name)
        if getattr(calling, name) != value:
            found.append(replace(calling, **{name: value}))
    # Step by step, and in one call, chance would be drawn in another order.
    if not calling.training and not calling.stepwise:
        found.append(replace(calling, training=True))
    if calling.resets == "some":
        found.append(replace(calling, resets="false"))
    if calling.state == "carried":
        found += [replace(calling, state="random"), replace(calling, state="initial")]
    if calling.lengths == "ragged":
        found.append(replace(calling, lengths="full"))
    found += [replace(calling, rows=n) for n in (1, 2) if n < calling.rows]
    found += [replace(calling, steps=n) for n in range(1, calling.steps)]
    return found
