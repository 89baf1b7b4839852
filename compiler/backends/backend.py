"""What a backend is: it runs the calls of one graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ...operators.call import Call, Result
from ..plan import Phase, Plan
from ..request import Memory


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is compiled: see `request.Request`."""

    memory: Memory = "save"
    without: frozenset[str] = frozenset()


class Backend(Protocol):
    """Runs the calls of one graph; made once for a model, called from any thread.

    A backend's constructor takes the graph and `Options`, and raises `lower.Unsupported` with the
    reason where it cannot run the graph at all.
    """

    @property
    def name(self) -> str:
        """As users write it."""

    def refuses(self, like: Tensor) -> str:
        """Why it does not run on this tensor's device and dtype; empty where it does."""

    def run(self, call: Call) -> Result:
        """Run one call, differentiably."""

    def plan(self) -> Plan | None:
        """The plan of a training step, or None for a backend that has no plans."""

    def explain(self, phase: Phase) -> str:
        """What runs a phase of that plan, and why, in a few words."""
