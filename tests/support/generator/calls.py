"""Generate random call configurations: steps, rows, segments, initial states."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

Layout = Literal["plain", "transposed", "strided", "offset", "expanded"]
LAYOUTS: tuple[Layout, ...] = ("plain", "transposed", "strided", "offset", "expanded")


@dataclass(frozen=True)
class CallConfig:
    """A call of a model; `seed` draws parameters, inputs and random masks.

    lengths: none, all of them T, or ragged, one of them 0.
    resets: none, all False, or some.
    state: none, from `initial_state`, random, or carried from an earlier call.
    layout: memory layout of the inputs; `expanded` repeats one row.
    stepwise: by `step`, one step at a time, compared with the reference's whole call.
    scored: the source of gradients; `none` runs without gradients, twice.
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
    """Draw a call of a spec's seed; number 0 is long, segmented, and carries a state."""
    rng = random.Random(1000 * seed + number)
    steps = rng.choice([1, 2, 3, 4, 5, 6, 7, 8])
    call = CallConfig(
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
        return call
    match rng.randint(0, 7):
        case 0:
            return replace(call, steps=0)
        case 1:
            return replace(call, rows=0)
        case 2:
            return replace(call, steps=1)
        case 3:
            return replace(call, stepwise=True, training=False, lengths="none", resets="none")
        case 4:
            return replace(call, scored="none")
        case _:
            return call


def simplify_call(call: CallConfig) -> list[CallConfig]:
    """Return calls with one feature less, the largest simplification first."""
    simpler_calls: list[CallConfig] = []
    plain = CallConfig(seed=call.seed)
    for name in ("lengths", "resets", "state", "layout", "batch_first", "stepwise", "scored"):
        value = getattr(plain, name)
        if getattr(call, name) != value:
            simpler_calls.append(replace(call, **{name: value}))
    # Stepwise and whole calls draw random numbers in different orders.
    if not call.training and not call.stepwise:
        simpler_calls.append(replace(call, training=True))
    if call.resets == "some":
        simpler_calls.append(replace(call, resets="false"))
    if call.state == "carried":
        simpler_calls += [replace(call, state="random"), replace(call, state="initial")]
    if call.lengths == "ragged":
        simpler_calls.append(replace(call, lengths="full"))
    simpler_calls += [replace(call, rows=n) for n in (1, 2) if n < call.rows]
    simpler_calls += [replace(call, steps=n) for n in range(1, call.steps)]
    return simpler_calls
