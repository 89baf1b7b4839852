"""Checkpoints: one safetensors file with the weights and a JSON header in its metadata.

The metadata key `rnnc` holds the `Header`, and `sha256` a checksum of the whole file, computed with
zeros in its own place; older versions of rnnc wrote none. Nothing in a checkpoint is ever executed:
tensors are bytes, the header is JSON of a fixed form, and its spec is text for the compiler.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from rnnc.grammar.diagnostics.diagnostic import Diagnostic
from rnnc.grammar.diagnostics.errors import fail
from rnnc.grammar.diagnostics.render import render_text
from rnnc.operators.sources.model_source import ModelSource
from rnnc.operators.sources.regular_files import open_regular
from rnnc.runtime.atomic_write import write_atomically
from rnnc.runtime.training.settings.training_config import TrainingConfig

from .progress import Progress

FORMAT_VERSION: Final = 1
METADATA_KEY: Final = "rnnc"
CHECKSUM_KEY: Final = "sha256"
CHECKSUM_PLACEHOLDER: Final = "0" * 64
"""Replaces the checksum while it is computed."""


class ChosenTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task's name and its options."""

    name: str
    options: dict[str, int]


class StoredProgram(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON form of a `Program`."""

    text: str
    name: str
    modules: dict[str, str]
    model: str | None
    parameters: dict[str, int | float]

    @classmethod
    def from_program(cls, program: ModelSource) -> StoredProgram:
        """Convert a program to its stored form."""
        modules, parameters = dict(program.modules), dict(program.parameters)
        return cls(program.text, program.name, modules, program.model, parameters)

    def to_program(self) -> ModelSource:
        """Convert the stored form to a program."""
        return ModelSource(self.text, self.name, self.modules, self.model, self.parameters)


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Metadata of the weights; `program` compiles without other files."""

    format: int = FORMAT_VERSION
    version: str
    program: StoredProgram
    config: TrainingConfig
    task: ChosenTask
    progress: Progress


class _FormatOnly(msgspec.Struct):
    format: int


def write_checkpoint(path: Path, header: Header, tensors: Mapping[str, Tensor]) -> None:
    """Write a checkpoint atomically, over an existing file."""
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = msgspec.json.encode(header).decode()
    content = save(stored, metadata={METADATA_KEY: text, CHECKSUM_KEY: CHECKSUM_PLACEHOLDER})
    checksum = hashlib.sha256(content).hexdigest()
    write_atomically(
        path, content.replace(_checksum_entry(CHECKSUM_PLACEHOLDER), _checksum_entry(checksum), 1)
    )


def _checksum_entry(checksum: str) -> bytes:
    """Return the checksum's bytes in the file; inside the header its quotes would be escaped."""
    return f'"{CHECKSUM_KEY}":"{checksum}"'.encode()


def read_checkpoint(path: Path) -> tuple[Header, dict[str, Tensor]]:
    """Read a checkpoint's header and tensors.

    Raises:
        RnnError: RNN631 for a file that is broken, cut off, or none of ours; RNN632 for one of
            another format version.
    """
    try:
        open_regular(path).close()
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    # safetensors raises its own type, OSError, KeyError and others on invalid files.
    except Exception as error:
        reason = getattr(error, "strerror", None)
        _reject(path, reason.lower() if reason else "it is not a whole safetensors file")
    if METADATA_KEY not in metadata:
        _reject(path, "it was not written by rnnc")
    _verify_checksum(path, metadata)
    return _decode_header(path, metadata[METADATA_KEY]), tensors


def _verify_checksum(path: Path, metadata: Mapping[str, str]) -> None:
    """Verify a checkpoint's checksum, if it has one, and its metadata keys."""
    checksum = metadata.get(CHECKSUM_KEY)
    if metadata.keys() - {METADATA_KEY, CHECKSUM_KEY}:
        _reject(path, "it was changed: its metadata have a key that rnnc does not write")
    if checksum is None:
        return
    with open_regular(path) as file:
        header_size = file.read(8)
        header = file.read(int.from_bytes(header_size, "little"))
        digest = hashlib.sha256(header_size)
        digest.update(
            header.replace(_checksum_entry(checksum), _checksum_entry(CHECKSUM_PLACEHOLDER), 1)
        )
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != checksum:
        _reject(path, "it was changed: it does not have the checksum that it was written with")


def _decode_header(path: Path, text: str) -> Header:
    try:
        version = msgspec.json.decode(text, type=_FormatOnly).format
        if version != FORMAT_VERSION:
            fail(
                "RNN632",
                f"the checkpoint `{path}` has format {version}, "
                f"and this rnnc reads {FORMAT_VERSION}",
                hint="read it with the version of rnnc that wrote it",
            )
        return msgspec.json.decode(text, type=Header)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        _reject(path, f"its header is wrong: {str(error)[:200]}")


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load a checkpoint's weights into a model; warn once if some are not finite.

    Raises:
        RnnError: RNN633 when names, shapes or dtypes are not those of the model; it is unchanged.
    """
    expected = model.state_dict()
    check_tensors(path, weights, expected)
    with torch.no_grad():
        model.load_state_dict(dict(weights))
    not_finite = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if not_finite:
        others = f" and in {len(not_finite) - 1} more" if len(not_finite) > 1 else ""
        message = (
            f"the checkpoint `{path}` holds weights that are not finite: "
            f"in `{not_finite[0]}`{others}"
        )
        hint = "what the model computes with them is of no use; train again with a smaller --lr"
        print(render_text(Diagnostic("RNN635", message, "warning", hint=hint)), file=sys.stderr)


def check_tensors(
    path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    """Raise RnnError RNN633 unless names, shapes and dtypes match."""
    for name, tensor in expected.items():
        if name not in tensors:
            _reject_weights(path, f"it has no `{name}`")
        actual = tensors[name]
        if actual.shape != tensor.shape:
            _reject_weights(
                path,
                f"`{name}` should have the shape {tuple(tensor.shape)} "
                f"and has {tuple(actual.shape)}",
            )
        if actual.dtype != tensor.dtype:
            _reject_weights(path, f"`{name}` should be {_dtype(tensor)} and is {_dtype(actual)}")
    if extra := sorted(tensors.keys() - expected.keys()):
        _reject_weights(path, f"it has `{extra[0]}`, which the spec does not have")


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _reject(path: Path, why: str) -> NoReturn:
    fail(
        "RNN631",
        f"the checkpoint `{path}` cannot be used: {why}",
        hint="a run holds checkpoints that `rnnc train` wrote; restore the file from a copy",
    )


def _reject_weights(path: Path, why: str) -> NoReturn:
    fail("RNN633", f"the weights of `{path}` do not fit the spec inside it: {why}")
