// The GEMM micro-kernel: up to TILE_ROWS rows times a packed panel of up to TILE_VECTORS vectors of
// columns, accumulated in registers. A panel holds, for each k, its columns side by side; rows are
// found by pointers, so that operands of other time steps need no copy.

#if VECTOR_BYTES == 64 || defined(__aarch64__)
#define TILE_VECTORS 4 /* 32 registers: 24 sums, 4 columns, the rest for rows */
#else
#define TILE_VECTORS 2 /* 16 registers: 12 sums, 2 columns, the rest for rows */
#endif
#define TILE_ROWS 6

INLINE void microkernel_tile(const int m, const int nv, long K, const real *const *rows,
                             const real *panel, real *sums, long stride, int accumulate) {
    vec c[TILE_ROWS][TILE_VECTORS];
    const real *a[TILE_ROWS];
#pragma GCC unroll 8
    for (int i = 0; i < m; i++) {
        a[i] = rows[i];
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++)
            c[i][v] = accumulate ? LOAD(sums + i * stride + v * LANES) : splat(0);
    }
    for (long k = 0; k < K; k++) {
        vec b[TILE_VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) b[v] = LOAD(panel + v * LANES);
        panel += nv * LANES;
#pragma GCC unroll 8
        for (int i = 0; i < m; i++) {
            vec x = splat(a[i][k]);
#pragma GCC unroll 8
            for (int v = 0; v < nv; v++) c[i][v] += x * b[v];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < m; i++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) STORE(sums + i * stride + v * LANES, c[i][v]);
}

// sums[m][nv vectors] = (or, with `accumulate`, +=) rows[m][K] times panel[K][nv vectors].
static __attribute__((noinline, unused)) void gemm_microkernel(int m, int nv, long K,
                                                               const real *const *rows,
                                                               const real *panel, real *sums,
                                                               long stride, int accumulate) {
#define DISPATCH_ROWS(nv)                                                              \
    switch (m) {                                                              \
    case 1: microkernel_tile(1, nv, K, rows, panel, sums, stride, accumulate); return;          \
    case 2: microkernel_tile(2, nv, K, rows, panel, sums, stride, accumulate); return;          \
    case 3: microkernel_tile(3, nv, K, rows, panel, sums, stride, accumulate); return;          \
    case 4: microkernel_tile(4, nv, K, rows, panel, sums, stride, accumulate); return;          \
    case 5: microkernel_tile(5, nv, K, rows, panel, sums, stride, accumulate); return;          \
    default: microkernel_tile(6, nv, K, rows, panel, sums, stride, accumulate); return;         \
    }
    switch (nv) {
    case 1: DISPATCH_ROWS(1)
    case 2: DISPATCH_ROWS(2)
#if TILE_VECTORS > 2
    case 3: DISPATCH_ROWS(3)
    default: DISPATCH_ROWS(4)
#endif
    }
#undef DISPATCH_ROWS
}

// Pack one vector of columns of a panel, from output `first` on; outputs beyond n are zero.
// W is (n, K), or transposed (K, n); `stride` is the distance of two k in the panel.
static __attribute__((unused)) void pack_panel(const real *W, long n, long K, int transposed,
                                               long first, real *panel, long stride) {
    long valid = n - first < LANES ? n - first : LANES;
    if (valid < 0) valid = 0;
    for (long k = 0; k < K; k++, panel += stride) {
        if (transposed && valid == LANES) {
            STORE(panel, LOAD(W + k * n + first));
            continue;
        }
        for (long l = 0; l < LANES; l++)
            panel[l] = l >= valid ? 0 : transposed ? W[k * n + first + l] : W[(first + l) * K + k];
    }
}

// Rows of a tile, so that the fewest tiles that hold `count` rows are of even size.
INLINE int even_tile_rows(long count) {
    long tiles = (count + TILE_ROWS - 1) / TILE_ROWS;
    return (int)((count + tiles - 1) / tiles);
}
