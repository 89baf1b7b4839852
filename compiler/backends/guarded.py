"""A backend that compiles at run time, and the one that takes over where that fails.

A disk may fill up, or a compiler vanish, after a model has begun to run. `auto` then goes on, more
slowly, and says so once; whoever names a backend, or requires that nothing falls back, gets the
error.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from ...grammar.diagnostics import RnnError
from ...operators.call import Call, Result
from ..plan import Phase, Plan
from .backend import Backend, Saved
from .boundaries import like_of
from .flat import Key
from .repeating import Again, Repeating

_told: set[str] = set()


@runtime_checkable
class Compiling(Protocol):
    """A backend that must build something before it can run a kind of call."""

    def prepare(self, call: Call, wanted: tuple[Key, ...]) -> None:
        """Build what the call needs, unless it is there.

        Raises:
            RnnError: RNN503, when this machine cannot.
        """


class Guarded:
    """Runs each kind of call on the first backend or, once that cannot be built, the second.

    A kind, once decided, stays with its backend: a backward pass reads what the same one has saved.
    """

    def __init__(self, first: Backend, second: Backend) -> None:
        self.first, self.second = first, second
        self._decided: dict[object, Backend] = {}
        self._failed = False
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Guarded:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Guarded, (self.first, self.second)

    @property
    def name(self) -> str:
        """The name of the one that runs what is new."""
        return (self.second if self._failed else self.first).name

    @property
    def obeys_autocast(self) -> bool:
        """As the one that runs what is new."""
        return (self.second if self._failed else self.first).obeys_autocast

    def refuses(self, like: Tensor) -> str:
        """As the first one."""
        return self.first.refuses(like)

    def forward(self, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
        """The forward pass of the one that runs this kind of call."""
        return self._one(call, wanted).forward(call, wanted)

    def saves(self, call: Call, wanted: tuple[Key, ...]) -> int:
        """What that one saves."""
        return self._one(call, wanted).saves(call, wanted)

    def backward(
        self,
        call: Call,
        wanted: tuple[Key, ...],
        saved: Saved,
        gradients: Mapping[Key, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """The backward pass of that one."""
        return self._one(call, wanted).backward(call, wanted, saved, gradients)

    def again(self, call: Call) -> Again | None:
        """What that one has for calls like this one."""
        one = self._one(call, ())
        return one.again(call) if isinstance(one, Repeating) else None

    def plan(self) -> Plan | None:
        """The plan of the one that runs what is new."""
        return (self.second if self._failed else self.first).plan()

    def explain(self, phase: Phase) -> str:
        """What runs a phase of that plan."""
        return (self.second if self._failed else self.first).explain(phase)

    def _one(self, call: Call, wanted: tuple[Key, ...]) -> Backend:
        kind = (call.training, wanted, like_of(call).dtype)
        found = self._decided.get(kind)
        if found is not None:
            return found
        with self._lock:
            if kind not in self._decided:
                self._decided[kind] = self._choice(call, wanted)
            return self._decided[kind]

    def _choice(self, call: Call, wanted: tuple[Key, ...]) -> Backend:
        if self._failed:
            return self.second
        try:
            if isinstance(self.first, Compiling):
                self.first.prepare(call, wanted)
        except RnnError as error:
            self._failed = True
            why = "; ".join(diagnostic.message for diagnostic in error.diagnostics)
            tell_once(f"rnnc: on to backend `{self.second.name}`, which is slower: {why}")
            return self.second
        return self.first


def tell_once(line: str) -> None:
    """Say something on standard error, once a process."""
    if line not in _told:
        _told.add(line)
        print(line, file=sys.stderr)
