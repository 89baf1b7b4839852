"""Run Python with some modules blocked, to test a command's real dependencies."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata

from support.processes.commands import run

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if {condition}:
            raise ModuleNotFoundError(f"out of reach: {{name}}", name=name)
        return None

sys.meta_path.insert(0, Blocker())
"""


def run_without(modules: Iterable[str], program: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program with some top-level modules blocked."""
    prelude = BLOCKER.format(condition=f"top in {set(modules)!r}")
    return run([sys.executable, "-c", prelude + program])


def run_with_only(modules: Iterable[str], program: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program with only the standard library, rnnc and some modules importable."""
    allowed = {"rnnc", *modules}
    condition = f"top not in {allowed!r} and top not in sys.stdlib_module_names"
    return run([sys.executable, "-c", BLOCKER.format(condition=condition) + program])


def required_modules(*distributions: str) -> set[str]:
    """Return the top-level modules of distributions and their dependencies."""
    names: set[str] = set()
    pending = list(distributions)
    while pending:
        name = normalize_name(pending.pop())
        if name in names:
            continue
        names.add(name)
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # required on another platform
            continue
        pending += [
            re.split(r"[^A-Za-z0-9._-]", requirement)[0]
            for requirement in requirements
            if "extra ==" not in requirement
        ]
    return {
        module
        for module, owners in metadata.packages_distributions().items()
        if any(normalize_name(owner) in names for owner in owners)
    }


def normalize_name(name: str) -> str:
    """Normalize a distribution's name as package indexes do."""
    return re.sub(r"[-_.]+", "-", name).lower()
