"""The C compiler and the cache of kernels on good and bad machines."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from rnnc.compiler.backends.cpu import build as build_module
from rnnc.compiler.backends.cpu import cache, toolchain
from rnnc.compiler.backends.cpu.build import build
from rnnc.grammar.diagnostics import RnnError

SOURCE = "int answer(void) { return 42; }\n"
OPENMP = """
#include <omp.h>
int threads(int n) {
    int count = 0;
    #pragma omp parallel num_threads(n) reduction(+ : count)
    count += 1;
    return count;
}
"""


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is loaded yet, and the cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build_module, "_loaded", {})
    monkeypatch.setattr(build_module, "_told", set())
    return tmp_path / "cache" / "rnnc" / "kernels"


def compiler_that(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = folder / "cc"
    version = 'if [ "$1" = --version ]; then echo fake 1; exit 0; fi\n'
    path.write_text(f"#!/bin/sh\n{version}{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))


def answer(library: ctypes.CDLL) -> int:
    return int(library.answer())


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*"))


def test_a_library_is_built_once_and_then_comes_from_the_cache(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer(build(SOURCE, "plain")) == 42
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o700
    assert [path.suffix for path in entries(fresh)] == [".so"]
    monkeypatch.setattr(build_module, "_loaded", {})
    monkeypatch.setattr(build_module, "_compile", lambda *_: pytest.fail("compiled again"))
    assert answer(build(SOURCE, "plain")) == 42


def test_source_and_level_each_make_their_own_entry(fresh: Path) -> None:
    build(SOURCE, "plain")
    build(SOURCE + " ", "plain")
    build(SOURCE, "avx2")
    assert len(entries(fresh)) == 3


def test_compiler_and_processor_are_part_of_the_key() -> None:
    one = toolchain.find_toolchain()
    keys = {
        build_module._key(SOURCE, "plain", other)
        for other in (
            one,
            toolchain.Toolchain("/x/cc", one.version, one.processor, one.openmp),
            toolchain.Toolchain(one.compiler, "13", one.processor, one.openmp),
            toolchain.Toolchain(one.compiler, one.version, "another", one.openmp),
            toolchain.Toolchain(one.compiler, one.version, one.processor, None),
        )
    }
    assert len(keys) == 5


@pytest.mark.parametrize("keep", [0, 1, 1000, -1])
def test_a_torn_entry_is_built_again(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    build(SOURCE, "plain")
    (entry,) = entries(fresh)
    whole = entry.read_bytes()
    torn = fresh / "torn"
    torn.write_bytes(whole[:keep])
    torn.replace(entry)
    monkeypatch.setattr(build_module, "_loaded", {})
    assert answer(build(SOURCE, "plain")) == 42
    assert cache.sound_entry(entry)


def test_a_changed_byte_is_seen(fresh: Path) -> None:
    build(SOURCE, "plain")
    (entry,) = entries(fresh)
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    changed = fresh / "changed"
    changed.write_bytes(content)
    assert not cache.sound_entry(changed)


def _answer_in(folder: str) -> int:
    os.environ["XDG_CACHE_HOME"] = folder
    return answer(build(SOURCE, "plain"))


def test_several_processes_may_build_the_same_thing(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(_answer_in, [str(tmp_path / "shared")] * 4)) == [42] * 4
    assert len(entries(tmp_path / "shared" / "rnnc" / "kernels")) == 1


def test_what_a_crash_has_left_is_cleared(fresh: Path) -> None:
    build(SOURCE, "plain")
    old, new = fresh / "build-old", fresh / "build-new"
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    build(SOURCE + "\n", "plain")
    assert not old.exists()
    assert new.exists()


def test_a_folder_of_somebody_else_is_refused(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert answer(build(SOURCE, "plain")) == 42
    told = capfd.readouterr().err
    assert "belongs to another user" in told
    assert told.count("\n") == 1
    assert entries(fresh) == []


def test_a_folder_that_is_open_to_others_is_refused(
    fresh: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fresh.mkdir(parents=True)
    fresh.chmod(0o777)
    assert answer(build(SOURCE, "plain")) == 42
    assert "open to other users" in capfd.readouterr().err
    assert entries(fresh) == []


def test_a_cache_that_cannot_be_made_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert answer(build(SOURCE, "plain")) == 42
    assert capfd.readouterr().err.startswith("rnnc: kernels are compiled anew")


def test_a_full_disk_at_the_cache_is_done_without(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(build_module, "seal", full)
    assert answer(build(SOURCE, "plain")) == 42
    assert "No space left" in capfd.readouterr().err
    assert entries(fresh) == []


def test_a_full_disk_everywhere_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler_that(tmp_path, monkeypatch, 'echo "model.o: No space left on device" >&2; exit 1')
    with pytest.raises(RnnError, match=r"RNN503.*cannot be written"):
        build(SOURCE, "plain")


def test_no_compiler_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RnnError, match="no C compiler"):
        build(SOURCE, "plain")
    monkeypatch.setenv("CC", "no-such-cc")
    with pytest.raises(RnnError, match="CC names `no-such-cc`"):
        build(SOURCE, "plain")


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler_that(tmp_path, monkeypatch, 'echo "x.c:1: error: no luck" >&2; exit 3')
    with pytest.raises(RnnError, match=r"failed \(3\): x.c:1: error: no luck"):
        build(SOURCE, "plain")


def test_a_compiler_that_hangs_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "child"
    compiler_that(tmp_path, monkeypatch, f"sleep 600 & echo $! > {child}; wait")
    with pytest.raises(RnnError, match="did not finish in 1 s"):
        build(SOURCE, "plain", timeout=1)
    state = Path(f"/proc/{child.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_one_openmp_runtime_and_its_threads() -> None:
    library = build(OPENMP, "plain")
    assert [library.threads(n) for n in (1, 2, 3)] == [1, 2, 3]
    torch.ones(2) + 1
    assert len(toolchain._loaded_openmp()) <= 1


def test_without_openmp_kernels_still_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "openmp_runtime", lambda: None)
    found = toolchain.find_toolchain()
    assert "-fopenmp" not in build_module.flags_of("plain", found)
    assert answer(build(SOURCE, "plain")) == 42


@pytest.mark.parametrize(
    ("capability", "level"), [("AVX512", "avx512"), ("AVX2", "avx2"), ("DEFAULT", "plain")]
)
def test_the_level_is_what_torch_uses(
    monkeypatch: pytest.MonkeyPatch, capability: str, level: str
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert toolchain.machine_level() == level


def test_nothing_is_flushed_to_zero_afterwards() -> None:
    script = (
        "import torch, rnnc.compiler.backends.cpu.build as b\n"
        f"b.build({SOURCE!r}, 'plain')\n"
        "tiny = torch.tensor(1e-39)\n"
        "assert (tiny * 1.0).item() != 0 and 5e-324 * 1.0 != 0\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=dict(os.environ))
