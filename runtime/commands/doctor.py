"""Say what this machine can run, what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click

from rnnc.runtime.options import json_option
from rnnc.runtime.print_diagnostics import print_json


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: status, details, and a hint to fix it."""

    name: str
    status: Literal["ok", "missing", "broken"]
    detail: str
    hint: str = ""
    required: bool = False


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Look for what rnnc can use on this machine; exit status 1 if it cannot run at all."""
    from rnnc.grammar.version import __version__

    findings = list(examine_machine())
    if as_json:
        print_json({"rnnc": __version__, "findings": [asdict(finding) for finding in findings]})
    else:
        click.echo(f"rnnc {__version__}")
        for finding in findings:
            click.echo(f"{finding.status:>7}  {finding.name}: {finding.detail}")
            if finding.hint:
                click.echo(f"         {finding.hint}")
    if any(finding.required and finding.status != "ok" for finding in findings):
        raise click.exceptions.Exit(1)


def examine_machine() -> Iterator[Finding]:
    """Yield all findings, in the order in which a user meets the components."""
    yield Finding("Python", "ok", f"{platform.python_version()} at {sys.executable}")
    torch = list(_check_torch())
    yield from torch
    yield _check_c_compiler()
    yield _check_triton()
    if torch[0].status == "ok":
        yield _check_processor()
        yield from _check_backends()
    yield _check_data()
    yield _check_cache()


def _check_torch() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:  # a broken build raises any exception type
        reason = f"{type(error).__name__}: {error}"
        yield Finding("torch", "broken", reason, "pip install 'torch>=2.10'", required=True)
        return
    threads = torch.get_num_threads()
    detail = f"{torch.__version__}, {threads} thread{'' if threads == 1 else 's'}"
    yield Finding("torch", "ok", detail, required=True)
    if not torch.version.cuda:
        hint = "for a GPU, install a CUDA build of torch"
        yield Finding("CUDA", "missing", "this torch is built without it", hint)
    elif not torch.cuda.is_available():
        hint = "is there an NVIDIA GPU, and does `nvidia-smi` see it?"
        yield Finding("CUDA", "missing", f"torch has {torch.version.cuda}, but no device", hint)
    else:
        names = ", ".join(
            torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
        )
        yield Finding("CUDA", "ok", f"{torch.version.cuda} on {names}")


def _check_c_compiler() -> Finding:
    configured = os.environ.get("CC")
    for name in [configured] if configured else ["cc", "gcc", "clang"]:
        path = shutil.which(name)
        if path:
            return Finding("C compiler", "ok", f"{path}{_compiler_version(path)}")
    detail = (
        f"CC names `{configured}`, which is not there"
        if configured
        else "no cc, gcc or clang found"
    )
    return Finding("C compiler", "missing", detail, "install gcc or clang")


def _compiler_version(compiler: str) -> str:
    from rnnc.grammar.diagnostics.errors import RnnError

    try:
        from rnnc.compiler.backends.cpu.toolchain.c_compiler import find_toolchain

        return f", {find_toolchain().version}"
    except (RnnError, ImportError):
        return ""


def _check_processor() -> Finding:
    from rnnc.compiler.backends.cpu.toolchain.c_compiler import host_isa

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    vectors = {"avx512": "AVX-512", "avx2": "AVX2", "plain": "no wide"}[host_isa()]
    plural = "" if cores == 1 else "s"
    return Finding(
        "processor", "ok", f"{platform.machine()}, {cores} core{plural}, {vectors} vectors"
    )


def _check_backends() -> Iterator[Finding]:
    """Yield a finding for each backend: the devices it runs on, or the reason it runs on none."""
    import torch

    from rnnc.compiler.backends.backend import Options
    from rnnc.compiler.backends.registry import AUTO_ORDER, BACKENDS
    from rnnc.compiler.errors import Unsupported
    from rnnc.grammar.source import Source
    from rnnc.operators.analyze import analyze

    graph = analyze(Source("input x: real\nstate h: real[2]\nh' = x ⊕ h\nx' = ▷ h'\n")).graph
    assert graph is not None
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    taken_devices: set[str] = set()
    for name in dict.fromkeys((*AUTO_ORDER, *BACKENDS)):
        try:
            backend = BACKENDS[name](graph, Options())
            reasons = {d: backend.unsupported_reason(torch.empty(0, device=d)) for d in devices}
        except Unsupported as error:
            reasons = dict.fromkeys(devices, str(error))
        supported = [device for device, reason in reasons.items() if not reason]
        if not supported:
            reason = "; ".join(dict.fromkeys(reasons.values()))
            yield Finding(f"backend {name}", "missing", reason, "models take another backend")
            continue
        auto_devices = [
            device for device in supported if name in AUTO_ORDER and device not in taken_devices
        ]
        taken_devices.update(auto_devices)
        auto = f"; auto takes it on {', '.join(auto_devices)}" if auto_devices else ""
        yield Finding(f"backend {name}", "ok", f"runs on {', '.join(supported)}{auto}")


def _check_triton() -> Finding:
    if importlib.util.find_spec("triton") is None:
        return Finding("Triton", "missing", "not installed", "it comes with torch's CUDA build")
    for package in ("triton", "pytorch-triton"):
        try:
            return Finding("Triton", "ok", importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            continue
    return Finding("Triton", "ok", "of a version that is not known")


def _check_data() -> Finding:
    from rnnc.runtime.data.location import data_folder
    from rnnc.runtime.tasks import all_tasks

    folder = data_folder()
    files = {task.name: folder / task.file for task in all_tasks() if task.file}
    available = [name for name, path in files.items() if path.is_file()]
    missing = [name for name in files if name not in available]
    detail = f"for {', '.join(available)}" if available else "none"
    if not missing:
        return Finding("data", "ok", f"{detail}, in {folder}")
    hint = f"missing for {', '.join(missing)}: `rnnc tasks` names the files; RNNC_DATA, the folder"
    return Finding("data", "missing", f"{detail}, in {folder}", hint)


def _check_cache() -> Finding:
    from platformdirs import user_cache_path

    folder = user_cache_path("rnnc", appauthor=False)
    existing = next(path for path in [folder, *folder.parents] if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        detail = f"{folder} cannot be written: {(error.strerror or str(error)).lower()}"
        return Finding("cache", "broken", detail, "set XDG_CACHE_HOME to a folder of your own")
    reason = _kernel_cache_error(folder / "kernels")
    if reason:
        return Finding(
            "cache", "broken", reason, "delete it, or set XDG_CACHE_HOME to another folder"
        )
    return Finding("cache", "ok", f"{folder} can be written")


def _kernel_cache_error(folder: Path) -> str:
    """Return the reason the kernel cache is unusable; empty if it is usable."""
    from rnnc.compiler.backends.cache_dir import UnusableCache, cache_folder

    try:
        if folder.exists():
            cache_folder()
    except UnusableCache as error:
        return str(error)
    return ""
