"""Checkpoints: one safetensors file with the weights, and all else as one JSON string beside them.

The metadata key `rnnc` holds the `Header`. Nothing in a checkpoint is ever executed: tensors are
bytes, the header is JSON of a fixed form, and the spec in it is text for the compiler.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ...grammar.diagnostics import fail
from ...operators.program import Program
from .config import TrainingConfig
from .files import write_atomically
from .progress import Progress

FORMAT: Final = 1
KEY: Final = "rnnc"


class ChosenTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task's name and its options."""

    name: str
    options: dict[str, int]


class StoredProgram(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `Program` as JSON has it."""

    text: str
    name: str
    modules: dict[str, str]
    model: str | None
    parameters: dict[str, int | float]

    @classmethod
    def of(cls, program: Program) -> StoredProgram:
        """The stored form of a program."""
        modules, parameters = dict(program.modules), dict(program.parameters)
        return cls(program.text, program.name, modules, program.model, parameters)

    def restored(self) -> Program:
        """The program itself."""
        return Program(self.text, self.name, self.modules, self.model, self.parameters)


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a checkpoint says about its weights; `program` compiles with no other file."""

    format: int = FORMAT
    version: str
    program: StoredProgram
    config: TrainingConfig
    task: ChosenTask
    progress: Progress


class _FormatOnly(msgspec.Struct):
    format: int


def write_checkpoint(path: Path, header: Header, tensors: Mapping[str, Tensor]) -> None:
    """Write a checkpoint in one step; a file that was there before is replaced."""
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = msgspec.json.encode(header).decode()
    write_atomically(path, save(stored, metadata={KEY: text}))


def read_checkpoint(path: Path) -> tuple[Header, dict[str, Tensor]]:
    """Read a checkpoint's header and tensors.

    Raises:
        RnnError: RNN631 for a file that is broken, cut off, or none of ours; RNN632 for one of
            another format version.
    """
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    # The reader raises its own type, OSError, KeyError and more on bytes that are not its own.
    except Exception as error:
        reason = getattr(error, "strerror", None)
        _broken(path, reason.lower() if reason else "it is not a whole safetensors file")
    if text is None:
        _broken(path, "it was not written by rnnc")
    return _header(path, text), tensors


def _header(path: Path, text: str) -> Header:
    try:
        version = msgspec.json.decode(text, type=_FormatOnly).format
        if version != FORMAT:
            fail(
                "RNN632",
                f"the checkpoint `{path}` has format {version}, and this rnnc reads {FORMAT}",
                hint="read it with the version of rnnc that wrote it",
            )
        return msgspec.json.decode(text, type=Header)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        _broken(path, f"its header is wrong: {str(error)[:200]}")


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Put a checkpoint's weights into a model.

    Raises:
        RnnError: RNN633 when names, shapes or dtypes are not those of the model; it is unchanged.
    """
    expected = model.state_dict()
    check_tensors(path, weights, expected)
    with torch.no_grad():
        model.load_state_dict(dict(weights))


def check_tensors(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise RnnError RNN633 unless names, shapes and dtypes agree."""
    for name, tensor in expected.items():
        if name not in found:
            _unfit(path, f"it has no `{name}`")
        other = found[name]
        if other.shape != tensor.shape:
            _unfit(
                path,
                f"`{name}` should have the shape {tuple(tensor.shape)} "
                f"and has {tuple(other.shape)}",
            )
        if other.dtype != tensor.dtype:
            _unfit(path, f"`{name}` should be {_dtype(tensor)} and is {_dtype(other)}")
    if extra := sorted(found.keys() - expected.keys()):
        _unfit(path, f"it has `{extra[0]}`, which the spec does not have")


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _broken(path: Path, why: str) -> NoReturn:
    fail(
        "RNN631",
        f"the checkpoint `{path}` cannot be used: {why}",
        hint="a run holds checkpoints that `rnnc train` wrote; restore the file from a copy",
    )


def _unfit(path: Path, why: str) -> NoReturn:
    fail("RNN633", f"the weights of `{path}` do not fit the spec inside it: {why}")
