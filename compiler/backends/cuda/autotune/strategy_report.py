"""How a loop is computed, in words: its tier, what it takes of the chip, why none is faster."""

from __future__ import annotations

from rnnc.compiler.backends.cuda.codegen.kernel_arguments import Case
from rnnc.compiler.backends.cuda.codegen.kernel_file import loop_kernels
from rnnc.compiler.backends.cuda.codegen.stage_kernels import file_of
from rnnc.compiler.backends.cuda.codegen.triton_build import is_interpreted, why_no_triton
from rnnc.compiler.backends.cuda.schedule.device_limits import H200, Chip, chip_of
from rnnc.compiler.backends.cuda.schedule.loop_strategy import Choice, choose, forced_tier
from rnnc.compiler.backends.cuda.schedule.matmul_precision import product_precision
from rnnc.compiler.backends.cuda.schedule.persistent_layout import Setting
from rnnc.compiler.errors import Unsupported
from rnnc.compiler.schedule.plan import Phase, Plan

from .kernel_resources import Resources, resources_of
from .tile_sizes import tiling_of
from .tuning_table import slower_tiers


def here() -> Setting:
    """Calls in float32 on the GPU of this machine; on an H200 where there is none."""
    return Setting(_chip()[0], 4, product_precision())


def account(plan: Plan, phase: Phase) -> str:
    """The tier of a loop on the GPU here, or on an H200 where there is none, in float32.

    Raises:
        RnnError: when a tier is forced that does not fit (RNN501).
    """
    setting, (chip, present) = here(), _chip()
    forced = forced_tier()
    slower = {} if forced else slower_tiers(plan, phase, setting)
    found = choose(plan, phase, setting, forced, slower)
    where = f"float32 on {chip.name}" + ("" if present else " (there is no GPU here)")
    refused = "".join(f"; not {tier}: {why}" for tier, why in found.refused)
    taken = _taken(plan, phase, setting, found)
    return f"tier {found.tier}{_shared_out(found)}, {where}{taken}{refused}"


def _shared_out(found: Choice) -> str:
    """How many programs share a row, where several do."""
    if found.shape is None or found.shape.slices == 1:
        return ""
    what = "of independent columns" if found.tier == "chip" else "that meet after each product"
    return f" ({found.shape.slices} programs a row, {what})"


def _chip() -> tuple[Chip, bool]:
    """A chip, and whether it is in this machine."""
    import torch

    try:
        if torch.version.hip is None and torch.cuda.is_available():
            return chip_of(torch.cuda.current_device()), True
    except (RuntimeError, AssertionError):
        pass  # It does not answer, which `why_not_this_chip` says.
    return H200, False


def _taken(plan: Plan, phase: Phase, setting: Setting, found: Choice) -> str:
    """What its kernels take of a multiprocessor: compiled where Triton is there, else estimated."""
    try:
        kernels = loop_kernels(plan, phase, Case(), found)
        if why_no_triton() or is_interpreted():
            raise RuntimeError("nothing compiles here")
        source = file_of(kernels, Case())
        about = (setting.chip, "float32", setting.precision)
        compiled = [
            (kernel, resources_of(kernel, source, tiling_of(kernel, 4), *about))
            for kernel in kernels
        ]
    except (Unsupported, RuntimeError):
        if found.shape is None:
            return ""
        return f", about {found.shape.shared // 1024} KB of shared memory a program by estimate"
    said = []
    for kernel, taken in compiled:
        threads = 32 * tiling_of(kernel, 4).warps
        together = setting.chip.resident(taken.registers, taken.shared, threads)
        said.append(_words(taken, together))
    return "".join(f", {words}" for words in dict.fromkeys(said))


def _words(taken: Resources, together: int) -> str:
    spilled = f" ({taken.spilled} bytes spilled)" if taken.spilled else ""
    return (
        f"{taken.registers} registers a thread{spilled} and {-(-taken.shared // 1024)} KB of "
        f"shared memory a program, {together} at a time on a multiprocessor"
    )
