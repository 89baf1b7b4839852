"""Elementary functions on vectors, against wider arithmetic, over the whole range of a type."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from rnnc.compiler.backends.cpu.codegen.emitter import prelude
from rnnc.compiler.backends.cpu.toolchain.build_library import build_library
from rnnc.compiler.backends.cpu.toolchain.c_compiler import host_isa

ISAS = ["plain", "avx2", "avx512"]
ISAS = ISAS[: ISAS.index(host_isa()) + 1]
Function = Callable[[np.ndarray], np.ndarray]

# Units in the last place, against numpy in 80 bits.
ULP: dict[str, tuple[float, Function]] = {
    "exp": (2, np.exp),
    "tanh": (4, np.tanh),
    "sigmoid": (4, lambda x: 1 / (1 + np.exp(-x))),
    "log": (2, np.log),
    "softplus": (
        4,
        lambda x: np.where(x > 20, x, np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))),
    ),
    "elu": (4, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "silu": (4, lambda x: x / (1 + np.exp(-x))),
    "sqrt": (1, np.sqrt),
    "softsign": (2, lambda x: x / (1 + np.abs(x))),
    "abs": (0, np.abs),
    "relu": (0, lambda x: np.where(x < 0, 0, x)),
}


def text(isa: str, double: bool) -> str:
    functions = "".join(
        f"void t_{name}(real *x, long n) "
        f"{{ for (long i = 0; i < n; i += LANES) STORE(x + i, v_{name}(LOAD(x + i))); }}\n"
        for name in ULP
    )
    return prelude(isa, double=double) + functions  # type: ignore[arg-type]


def points(dtype: type, generator: np.random.Generator) -> np.ndarray:
    limits = np.finfo(dtype)
    small = generator.standard_normal(4000) * 10 ** generator.uniform(-6, 2.5, 4000)
    tiny = generator.choice([-1, 1], 400) * 10 ** generator.uniform(np.log10(limits.tiny), 0, 400)
    edges = [0.0, -0.0, 1.0, -1.0, 20.0, 20.5, 88.7, 89.5, -87.3, -103.9, -104.5, 709.7, 710.5]
    edges += [-708.4, -745.1, -746.5, np.inf, -np.inf, np.nan, limits.max, -limits.max]
    edges += [limits.tiny, -limits.tiny, limits.smallest_subnormal * 3]
    every = np.concatenate([small, tiny, np.array(edges, dtype=np.longdouble)])
    with np.errstate(over="ignore"):
        every = every.astype(dtype)
    return np.concatenate([every, np.zeros(-len(every) % 16, dtype)])


GROUPS = "".join(
    f"void t_{name}(real *to, const real *z, long n, long k) {{ {name}(to, z, n, k); }}\n"
    for name in ("group_max", "group_sum", "spread")
)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("k", [1, 3, 16, 63, 64, 70, 197])
def test_groups_of_entries(isa: str, double: bool, k: int) -> None:
    library = build_library(prelude(isa, double=double) + GROUPS, isa)  # type: ignore[arg-type]
    dtype = np.float64 if double else np.float32
    z = np.random.default_rng(k).standard_normal((5, k)).astype(dtype)
    z[1, -1], z[2, k // 2], z[3] = 9, np.nan, -np.inf

    def run(name: str, source: np.ndarray, count: int, n: int) -> np.ndarray:
        to = np.zeros(count, dtype)
        pointers = (ctypes.c_void_p(a.ctypes.data) for a in (to, source))
        getattr(library, name)(*pointers, ctypes.c_long(n), ctypes.c_long(k))
        return to

    assert np.array_equal(run("t_group_max", z, 5, z.size), z.max(-1), equal_nan=True)
    sums = z.astype(np.longdouble).sum(-1)
    computed = run("t_group_sum", z, 5, z.size)
    assert np.allclose(computed, sums.astype(dtype), rtol=0, atol=1e-4, equal_nan=True)
    spread = run("t_spread", z[:, 0].copy(), z.size, 5)
    assert np.array_equal(spread, z[:, 0].repeat(k), equal_nan=True)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_are_right_to_a_few_units_in_the_last_place(isa: str, dtype: type) -> None:
    library = build_library(text(isa, dtype is np.float64), isa)  # type: ignore[arg-type]
    x = points(dtype, np.random.default_rng(0))
    for name, (allowed, function) in ULP.items():
        y = np.ascontiguousarray(x.copy())
        library[f"t_{name}"](ctypes.c_void_p(y.ctypes.data), ctypes.c_long(len(y)))
        with np.errstate(all="ignore"):
            exact = function(x.astype(np.longdouble))
            rounded = exact.astype(dtype)
        # Where e⁻ᶻ overflows, z σ(z) is rounded to zero a little early, as torch does.
        least = np.finfo(dtype).tiny * (1024 if name == "silu" else 1)
        ordinary = np.isfinite(rounded) & (np.abs(rounded) >= least)
        assert np.array_equal(np.isnan(y), np.isnan(rounded)), name
        infinite = np.isinf(rounded)
        assert np.array_equal(y[infinite], rounded[infinite]), name
        with np.errstate(over="ignore"):
            unit = np.spacing(np.abs(rounded[ordinary]) * 0.75)
        off = np.abs(y[ordinary] - exact[ordinary]) / unit
        worst = int(off.argmax())
        assert off.max() <= allowed + 0.51, f"{name}({x[ordinary][worst]!r}): {off.max():.1f} ulp"
        below = np.isfinite(rounded) & ~ordinary
        assert np.abs(y[below] - rounded[below]).max() <= least, name


def test_a_wrong_coefficient_is_seen() -> None:
    right = text("plain", True)
    wrong = right.replace("p * z + 1.0 / 24.0;", "p * z + 1.0 / 24.0001;")
    assert wrong != right
    library = build_library(wrong, "plain")
    x = points(np.float64, np.random.default_rng(0))
    y = x.copy()
    library.t_exp(ctypes.c_void_p(y.ctypes.data), ctypes.c_long(len(y)))
    with np.errstate(all="ignore"):
        off = np.abs(y - np.exp(x)) / np.spacing(np.exp(x))
    assert np.nanmax(off) > 10
