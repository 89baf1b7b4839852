"""How a loop is computed, in words: its tier, what it takes of the chip, why none is faster."""

from __future__ import annotations

from ...plan import Phase, Plan
from .chip import H200, Chip, chip_of
from .precision import product_precision
from .shapes import Setting
from .stages import stages_of
from .tiers import Choice, choose, forced_tier


def here() -> Setting:
    """Calls in float32 on the GPU of this machine; on an H200 where there is none."""
    return Setting(_chip()[0], 4, product_precision())


def account(plan: Plan, phase: Phase, setting: Setting | None = None) -> str:
    """The tier of a loop, for the GPU here unless another setting is given.

    Raises:
        RnnError: when a tier is forced that does not fit (RNN501).
    """
    found = choose(stages_of(plan, phase.values), setting or here(), forced_tier())
    refused = "".join(f"; not {tier}: {why}" for tier, why in found.refused)
    return f"tier {found.tier} {_where(setting)}{_taken(found)}{refused}"


def _chip() -> tuple[Chip, bool]:
    """A chip, and whether it is in this machine."""
    import torch

    if torch.version.hip is None and torch.cuda.is_available():
        return chip_of(torch.cuda.current_device()), True
    return H200, False


def _where(setting: Setting | None) -> str:
    if setting is not None:
        return f"on {setting.chip.name}"
    chip, present = _chip()
    return f"in float32 on {chip.name}" + ("" if present else " (there is no GPU here)")


def _taken(found: Choice) -> str:
    if found.shape is None:
        return ""
    return f", about {found.shape.shared // 1024} KB of shared memory by estimate"
