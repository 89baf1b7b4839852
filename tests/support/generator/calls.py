"""Random calls: how long, how many rows, cut into which segments, going on from what."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

Layout = Literal["plain", "transposed", "strided", "offset", "expanded"]
LAYOUTS: tuple[Layout, ...] = ("plain", "transposed", "strided", "offset", "expanded")


@dataclass(frozen=True)
class CallConfig:
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


def random_call(seed: int, number: int = 0) -> CallConfig:
    """The call with a number of a spec's seed; the first is long, cut up, and carries a state."""
    rng = random.Random(1000 * seed + number)
    steps = rng.choice([1, 2, 3, 4, 5, 6, 7, 8])
    calling = CallConfig(
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


def simplify_call(call: CallConfig) -> list[CallConfig]:
    """Calls that have one thing less, the largest step first."""
    found: list[CallConfig] = []
    plain = CallConfig(seed=call.seed)
    for name in ("lengths", "resets", "state", "layout", "batch_first", "stepwise", "scored"):
        value = getattr(plain, name)
        if getattr(call, name) != value:
            found.append(replace(call, **{name: value}))
    # Step by step, and in one call, chance would be drawn in another order.
    if not call.training and not call.stepwise:
        found.append(replace(call, training=True))
    if call.resets == "some":
        found.append(replace(call, resets="false"))
    if call.state == "carried":
        found += [replace(call, state="random"), replace(call, state="initial")]
    if call.lengths == "ragged":
        found.append(replace(call, lengths="full"))
    found += [replace(call, rows=n) for n in (1, 2) if n < call.rows]
    found += [replace(call, steps=n) for n in range(1, call.steps)]
    return found
