"""The type of a task: three data splits, the required signature of a spec, a baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from rnnc.operators.graph.types import Type

if TYPE_CHECKING:
    from rnnc.runtime.data.examples import Example

Split: TypeAlias = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
TargetTiming: TypeAlias = Literal["next input", "every step", "at end"]


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """A result from a paper, in the task's first metric on the test split."""

    model: str
    value: float
    source: str
    certainty: str


@dataclass(frozen=True, slots=True)
class TaskOption:
    """An integer option of a task, set by `--task-set NAME=VALUE`."""

    default: int
    minimum: int
    maximum: int
    meaning: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A task with chosen options and located data.

    `load_split` loads a split's examples; nothing of a split is read before. `baseline` computes
    the first metric of the trivial model, fitted on `train`, on a split. `parameters` are values
    from the data for a model's parameters without default.
    """

    input: Type
    target: Type
    target_timing: TargetTiming
    load_split: Callable[[Split], Sequence[Example]]
    baseline: Callable[[Split], float]
    parameters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """A task as `rnnc tasks` lists it.

    `metrics` names modules of `runtime/metrics`; the first decides when training stops. `settings`
    are fields of the training configuration with better values than the general defaults. `needs`
    describes the required signature of a spec. `open` takes all options and the folder of `--data`.
    """

    name: str
    summary: str
    needs: str
    metrics: tuple[str, ...]
    baseline: str
    open: Callable[[Mapping[str, int], Path | None], Problem]
    file: str | None = None
    options: Mapping[str, TaskOption] = field(default_factory=dict)
    settings: Mapping[str, int | float | None] = field(default_factory=dict)
    published: tuple[PublishedResult, ...] = ()

    def resolve_options(self, values: Mapping[str, int | float]) -> dict[str, int]:
        """Return all options, with defaults for missing ones.

        Raises:
            ValueError: for an option that the task does not have, or a value it cannot take.
        """
        for name, value in values.items():
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise ValueError(f"task `{self.name}` has no option `{name}`; its options: {known}")
            least, most = self.options[name].minimum, self.options[name].maximum
            if not isinstance(value, int) or not least <= value <= most:
                raise ValueError(
                    f"expected an integer from {least} to {most:,} for the option `{name}` "
                    f"of task `{self.name}`, got {value}"
                )
        return {
            name: int(values.get(name, option.default)) for name, option in self.options.items()
        }
