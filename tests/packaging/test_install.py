"""What is built and installed: one package, whole, with nothing generic beside it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import rnnc
from rnnc.operators.sources.zoo import zoo_names
from support.processes.commands import run

pytestmark = pytest.mark.xdist_group("packaging")

FOLDERS = ("grammar", "operators", "compiler", "runtime")
CLEAN = {"PYTHONPATH": "", "PYTHONHOME": "", "VIRTUAL_ENV": ""}


@dataclass(frozen=True, slots=True)
class Build:
    """A source distribution, and the wheel that was built from it."""

    sdist: Path
    wheel: Path

    @property
    def sources(self) -> set[str]:
        with tarfile.open(self.sdist) as archive:
            files = [member.name for member in archive.getmembers() if member.isfile()]
            return {name.partition("/")[2] for name in files}

    @property
    def modules(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())


@dataclass(frozen=True, slots=True)
class Installation:
    """A fresh environment with rnnc in it; the rest of the packages are lent to it."""

    kind: str
    python: Path
    elsewhere: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        return run([self.python, *arguments], cwd=self.elsewhere, env=CLEAN)

    def script(self, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        return run([self.python.parent / "rnnc", *arguments], cwd=self.elsewhere, env=CLEAN)


@pytest.fixture(scope="session")
def build(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("dist")
    result = run([sys.executable, "-m", "build", "--no-isolation", "-o", folder, root], env=CLEAN)
    assert result.returncode == 0, result.stderr.decode() + result.stdout.decode()
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return Build(sdist, wheel)


def environment(folder: Path) -> Path:
    """A fresh environment to which the packages of this one, but not its rnnc, are lent."""
    result = run([sys.executable, "-m", "venv", "--without-pip", folder], env=CLEAN)
    assert result.returncode == 0, result.stderr.decode()
    python = folder / "bin" / "python"
    program = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run([python, "-c", program], env=CLEAN).stdout.decode().strip())
    # A path in a .pth file is searched after its own folder, and .pth files there are not read.
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert run([python, "-c", "import rnnc"], cwd=folder, env=CLEAN).returncode != 0
    return python


@pytest.fixture(scope="session", params=["wheel", "editable"])
def installation(
    request: pytest.FixtureRequest,
    build: Build,
    root: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Installation:
    folder = tmp_path_factory.mktemp(request.param)
    python = environment(folder / "venv")
    what = [str(build.wheel)] if request.param == "wheel" else ["-e", str(root)]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "--python", python, "install", *options, *what]
    result = run(pip, cwd=folder, env=CLEAN)
    assert result.returncode == 0, result.stderr.decode() + result.stdout.decode()
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    return Installation(request.param, python, elsewhere)


def test_the_wheel_holds_one_package(build: Build) -> None:
    tops = {name.partition("/")[0] for name in build.modules}
    assert tops == {"rnnc", f"rnnc-{rnnc.__version__}.dist-info"}


def test_the_wheel_holds_every_file_of_the_folders(build: Build, root: Path) -> None:
    expected = {
        f"rnnc/{path.relative_to(root).as_posix()}"
        for folder in FOLDERS
        for path in (root / folder).rglob("*")
        if path.suffix in {".py", ".rnn", ".lark", ".c", ".h", ".js", ".css"}
    }
    expected |= {"rnnc/__init__.py", "rnnc/__main__.py", "rnnc/py.typed"}
    expected |= {f"rnnc/errors/{path.name}" for path in (root / "docs" / "errors").glob("*.md")}
    assert expected <= build.modules
    assert not [name for name in build.modules if "__pycache__" in name or "tests" in name]


def test_the_sdist_holds_the_real_folders(build: Build) -> None:
    for name in ["grammar/source.py", "runtime/cli.py", ".pkg/rnnc/__init__.py", "LICENSE"]:
        assert name in build.sources
    assert not [name for name in build.sources if name.startswith(".pkg/rnnc/grammar")]


def test_the_package_is_where_it_was_installed(installation: Installation, root: Path) -> None:
    result = installation.run("-c", "import rnnc; print(rnnc.__file__)")
    place = Path(result.stdout.decode().strip())
    expected = installation.python.parent.parent
    assert place.is_relative_to(root / ".pkg" if installation.kind == "editable" else expected)


@pytest.mark.parametrize("name", [*FOLDERS, "tests", "docs", "support"])
def test_nothing_generic_is_importable(installation: Installation, name: str) -> None:
    result = installation.run("-c", f"import {name}")
    assert f"No module named '{name}'" in result.stderr.decode()


def test_package_data_is_there(installation: Installation) -> None:
    program = """
from importlib.resources import files
package = files("rnnc")
assert package.joinpath("py.typed").is_file()
assert package.joinpath("grammar", "rnn.lark").is_file()
assert package.joinpath("operators", "library", "default.rnn").is_file()
assert all(f.name.startswith(("RNN", ".", "README")) for f in package.joinpath("errors").iterdir())
"""
    result = installation.run("-c", program)
    assert result.returncode == 0, result.stderr.decode()


def test_script_and_module_are_one_command(installation: Installation) -> None:
    for result in (installation.script("--version"), installation.run("-m", "rnnc", "--version")):
        assert result.returncode == 0, result.stderr.decode()
        assert result.stdout.decode() == f"rnnc {rnnc.__version__}\n"
    assert installation.script("--help").stdout == installation.run("-m", "rnnc", "--help").stdout


def test_the_installed_command_reads_specs(installation: Installation, root: Path) -> None:
    result = installation.script("check", root / "docs" / "examples" / "conventional.rnn")
    assert result.returncode == 0, result.stderr.decode()
    assert "75,488 parameters" in result.stdout.decode()
    for name in zoo_names():
        assert installation.script("check", f"zoo:{name}").returncode == 0, name


def test_the_installed_package_compiles(installation: Installation, root: Path) -> None:
    program = f"""
import torch, rnnc
model = rnnc.compile({str(root / "docs" / "examples" / "conventional.rnn")!r})
y, state = model(torch.zeros(3, 2, 88))
y.sum().backward()
"""
    result = installation.run("-c", program)
    assert result.returncode == 0, result.stderr.decode()


def test_the_version_stands_in_one_place(installation: Installation, root: Path) -> None:
    program = "import importlib.metadata as m; print(m.version('rnnc'))"
    assert installation.run("-c", program).stdout.decode().strip() == rnnc.__version__
    assert rnnc.__version__ not in (root / "pyproject.toml").read_text()
    assert f"[{rnnc.__version__}]" in (root / "CHANGELOG.md").read_text()
