"""The C compiler and the cache of kernels on good and bad machines."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rnnc.compiler.backends import cache_dir, warn_once
from rnnc.compiler.backends.cpu.toolchain import build_library as build_module
from rnnc.compiler.backends.cpu.toolchain import c_compiler, kernel_cache
from rnnc.compiler.backends.cpu.toolchain.build_library import build_library
from rnnc.grammar.diagnostics.errors import RnnError

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
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No library is loaded yet, and the cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build_module, "_loaded", {})
    monkeypatch.setattr(warn_once, "_warned", set())
    return tmp_path / "cache" / "rnnc" / "kernels"


def use_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
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
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer(build_library(SOURCE, "plain")) == 42
    assert stat.S_IMODE(empty_cache.stat().st_mode) == 0o700
    assert [path.suffix for path in entries(empty_cache)] == [".so"]
    monkeypatch.setattr(build_module, "_loaded", {})
    monkeypatch.setattr(build_module, "_compile", lambda *_: pytest.fail("compiled again"))
    assert answer(build_library(SOURCE, "plain")) == 42


def test_source_and_instruction_set_each_make_their_own_entry(empty_cache: Path) -> None:
    build_library(SOURCE, "plain")
    build_library(SOURCE + " ", "plain")
    build_library(SOURCE, "avx2")
    assert len(entries(empty_cache)) == 3


def test_compiler_and_processor_are_part_of_the_key() -> None:
    one = c_compiler.find_toolchain()
    keys = {
        build_module._key(SOURCE, "plain", other)
        for other in (
            one,
            c_compiler.Toolchain("/x/cc", one.version, one.processor, one.openmp),
            c_compiler.Toolchain(one.compiler, "13", one.processor, one.openmp),
            c_compiler.Toolchain(one.compiler, one.version, "another", one.openmp),
            c_compiler.Toolchain(one.compiler, one.version, one.processor, None),
        )
    }
    assert len(keys) == 5


@pytest.mark.parametrize("keep", [0, 1, 1000, -1])
def test_a_torn_entry_is_built_again(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    build_library(SOURCE, "plain")
    (entry,) = entries(empty_cache)
    whole = entry.read_bytes()
    torn = empty_cache / "torn"
    torn.write_bytes(whole[:keep])
    torn.replace(entry)
    monkeypatch.setattr(build_module, "_loaded", {})
    assert answer(build_library(SOURCE, "plain")) == 42
    assert kernel_cache.is_valid_entry(entry)


def test_a_changed_byte_is_seen(empty_cache: Path) -> None:
    build_library(SOURCE, "plain")
    (entry,) = entries(empty_cache)
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    changed = empty_cache / "changed"
    changed.write_bytes(content)
    assert not kernel_cache.is_valid_entry(changed)


def test_several_processes_may_build_the_same_thing(empty_cache: Path) -> None:
    script = f"""
from rnnc.compiler.backends.cpu.toolchain.build_library import build_library
print(build_library({SOURCE!r}, "plain").answer())
"""
    command = [sys.executable, "-c", script]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate()[0].split() for process in running] == [[b"42"]] * 3
    assert len(entries(empty_cache)) == 1


def test_build_folders_of_crashes_are_cleared(empty_cache: Path) -> None:
    build_library(SOURCE, "plain")
    old, new = empty_cache / "build-old", empty_cache / "build-new"
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    build_library(SOURCE + "\n", "plain")
    assert not old.exists()
    assert new.exists()


def test_a_folder_of_somebody_else_is_refused(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert answer(build_library(SOURCE, "plain")) == 42
    message = capfd.readouterr().err
    assert "belongs to another user" in message
    assert message.count("\n") == 1
    assert entries(empty_cache) == []


def test_a_folder_that_is_open_to_others_is_refused(
    empty_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    empty_cache.mkdir(parents=True)
    empty_cache.chmod(0o777)
    assert answer(build_library(SOURCE, "plain")) == 42
    assert "open to other users" in capfd.readouterr().err
    assert entries(empty_cache) == []


def test_kernels_build_without_a_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert answer(build_library(SOURCE, "plain")) == 42
    assert capfd.readouterr().err.startswith("rnnc: kernels are compiled anew")


def test_kernels_build_with_a_full_disk_at_the_cache(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(build_module, "publish_entry", full)
    assert answer(build_library(SOURCE, "plain")) == 42
    assert "No space left" in capfd.readouterr().err
    assert entries(empty_cache) == []


def test_a_full_disk_everywhere_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_compiler(tmp_path, monkeypatch, 'echo "model.o: No space left on device" >&2; exit 1')
    with pytest.raises(RnnError, match=r"RNN503.*cannot be written"):
        build_library(SOURCE, "plain")


def test_no_compiler_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RnnError, match="no C compiler"):
        build_library(SOURCE, "plain")
    monkeypatch.setenv("CC", "no-such-cc")
    with pytest.raises(RnnError, match="CC names `no-such-cc`"):
        build_library(SOURCE, "plain")


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_compiler(tmp_path, monkeypatch, 'echo "x.c:1: error: no luck" >&2; exit 3')
    with pytest.raises(RnnError, match=r"failed \(3\): x.c:1: error: no luck"):
        build_library(SOURCE, "plain")


def test_a_compiler_that_hangs_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "child"
    use_compiler(tmp_path, monkeypatch, f"sleep 600 & echo $! > {child}; wait")
    with pytest.raises(RnnError, match="did not finish in 1 s"):
        build_library(SOURCE, "plain", timeout=1)
    state = Path(f"/proc/{child.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_one_openmp_runtime_and_its_threads() -> None:
    library = build_library(OPENMP, "plain")
    assert [library.threads(n) for n in (1, 2, 3)] == [1, 2, 3]
    torch.ones(2) + 1
    assert len(c_compiler._find_loaded_openmp()) <= 1


def test_without_openmp_kernels_still_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_compiler, "openmp_runtime", lambda: None)
    toolchain = c_compiler.find_toolchain()
    assert "-fopenmp" not in build_module.compiler_flags("plain", toolchain)
    assert answer(build_library(SOURCE, "plain")) == 42


@pytest.mark.parametrize(
    ("capability", "isa"), [("AVX512", "avx512"), ("AVX2", "avx2"), ("DEFAULT", "plain")]
)
def test_the_instruction_set_is_that_of_torch(
    monkeypatch: pytest.MonkeyPatch, capability: str, isa: str
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert c_compiler.host_isa() == isa


def test_nothing_is_flushed_to_zero_afterwards() -> None:
    script = (
        "import torch, rnnc.compiler.backends.cpu.toolchain.build_library as b\n"
        f"b.build_library({SOURCE!r}, 'plain')\n"
        "tiny = torch.tensor(1e-39)\n"
        "assert (tiny * 1.0).item() != 0 and 5e-324 * 1.0 != 0\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=dict(os.environ))


BAD_LIBRARIES = {
    "nothing": ": > $out",
    "text": "echo no library > $out",
    "an object": "echo 'int other;' | cc -x c -c - -o $out",
    **{
        f"{part} bytes": "echo 'int answer(void) { return 42; }' | cc -x c -shared -fPIC - -o $out;"
        f" head -c {part} $out > $out.part; mv $out.part $out"
        for part in (5, 63, 64, 600, 1000, 4200, 8200)
    },
    "another library": "echo 'int other(void) { return 1; }' | cc -x c -shared -fPIC - -o $out",
}
OUT = 'while [ "$1" != -o ]; do shift; done; out=$2\n'


def publish_bad_entry(empty_cache: Path, content: Path) -> Path:
    """Publish an entry whose checksum is right, though it holds no usable library."""
    toolchain = c_compiler.find_toolchain()
    entry = cache_dir.cache_folder() / f"{build_module._key(SOURCE, 'plain', toolchain)}.so"
    kernel_cache.publish_entry(content, entry)
    assert kernel_cache.is_valid_entry(entry)
    assert entry.parent == empty_cache
    return entry


@pytest.mark.parametrize("kind", BAD_LIBRARIES)
def test_an_entry_with_a_bad_library_is_built_again(
    empty_cache: Path, tmp_path: Path, kind: str
) -> None:
    content = tmp_path / "bad"
    script = OUT + BAD_LIBRARIES[kind]
    subprocess.run(["/bin/sh", "-c", script, "sh", "-o", str(content)], check=True)
    entry = publish_bad_entry(empty_cache, content)
    before = entry.read_bytes()
    assert answer(build_library(SOURCE, "plain", required_functions=["answer"])) == 42
    assert entry.read_bytes() != before
    assert kernel_cache.is_valid_entry(entry)
    # For the entry's name this process gets the bad library, which it has loaded before.
    copy = tmp_path / "copy.so"
    copy.write_bytes(entry.read_bytes())
    assert answer(ctypes.CDLL(str(copy))) == 42


@pytest.mark.parametrize("kind", BAD_LIBRARIES)
def test_a_bad_library_is_not_cached_and_one_clear_error(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    use_compiler(tmp_path, monkeypatch, f"echo run >> {tmp_path}/runs\n{OUT}{BAD_LIBRARIES[kind]}")
    words = r"RNN503.*has written a library (that does not load|without the function `answer`)"
    with pytest.raises(RnnError, match=words):
        build_library(SOURCE, "plain", required_functions=["answer"])
    assert entries(empty_cache) == []
    assert (tmp_path / "runs").read_text().count("run") == 2, "compiled and linked, once"


def test_a_compiler_that_writes_nothing_is_one_clear_error(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_compiler(tmp_path, monkeypatch, "exit 0")
    with pytest.raises(RnnError, match=r"RNN503.*has written a library that does not load"):
        build_library(SOURCE, "plain")
    assert entries(empty_cache) == []


@pytest.mark.parametrize("kind", ["pipe", "socket", "link"])
def test_an_entry_that_is_no_file_of_ours_is_replaced(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    build_library(SOURCE, "plain")
    (entry,) = entries(empty_cache)
    elsewhere = tmp_path / "elsewhere.so"
    entry.replace(elsewhere)
    if kind == "pipe":
        os.mkfifo(entry)
    elif kind == "socket":
        monkeypatch.chdir(empty_cache)
        with socket.socket(socket.AF_UNIX) as ours:
            ours.bind(entry.name)
    else:
        entry.symlink_to(elsewhere)
    monkeypatch.setattr(build_module, "_loaded", {})
    assert answer(build_library(SOURCE, "plain", required_functions=["answer"])) == 42
    assert stat.S_ISREG(entry.lstat().st_mode)


def test_a_folder_in_an_entrys_place_is_reported(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    build_library(SOURCE, "plain")
    (entry,) = entries(empty_cache)
    entry.unlink()
    entry.mkdir()
    monkeypatch.setattr(build_module, "_loaded", {})
    assert answer(build_library(SOURCE, "plain", required_functions=["answer"])) == 42
    assert capfd.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["kernels", "tuning"])
@pytest.mark.parametrize("which", ["inner", "outer"])
@pytest.mark.parametrize("fault", ["link", "file", "open to a group", "open to all", "another's"])
def test_every_folder_of_the_cache_is_the_users_own(
    empty_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    which: str,
    fault: str,
) -> None:
    empty_cache.parent.mkdir(parents=True, mode=0o755)
    folder = empty_cache.parent / name if which == "inner" else empty_cache.parent
    assert cache_dir.cache_folder(name) == empty_cache.parent / name
    if fault in {"link", "file"}:
        folder.rename(tmp_path / "moved")
        if fault == "link":
            folder.symlink_to(tmp_path / "moved")
        else:
            folder.touch()
    elif fault == "another's":
        lstat = Path.lstat

        def owned(path: Path) -> os.stat_result:
            fields = list(lstat(path))
            fields[stat.ST_UID] += path == folder
            return os.stat_result(fields)

        monkeypatch.setattr(Path, "lstat", owned)
    else:
        folder.chmod(0o720 if "group" in fault else 0o702)
    words = {"link": "is a link", "file": "not a folder|file exists", "another's": "another user"}
    with pytest.raises(cache_dir.UnusableCache, match=words.get(fault, "open to other users")):
        cache_dir.cache_folder(name)
