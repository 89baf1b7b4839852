// C[M][N] = sum over n of a[n][M] b[n][N]: the gradient of a matrix. Both operands are copied block by
// block into panels, so that rows of other time steps cost nothing more.

#define OUTER_DEPTH 256

// Every entry is summed in one order, whatever the number of threads.
INLINE void outer_tile(const int m, const int nv, long K, const real *a, const real *b, real *to,
                       long stride, int more) {
    vec c[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < m; i++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++)
            c[i][v] = more ? LOAD(to + i * stride + v * LANES) : splat(0);
    for (long k = 0; k < K; k++, a += TILE_ROWS, b += nv * LANES) {
        vec w[TILE_VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) w[v] = LOAD(b + v * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < m; i++) {
            vec x = splat(a[i]);
#pragma GCC unroll 8
            for (int v = 0; v < nv; v++) c[i][v] += x * w[v];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < m; i++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) STORE(to + i * stride + v * LANES, c[i][v]);
}

static __attribute__((unused)) void pack_columns(const real *z, long stride, const int32_t *index,
                                                 long k0, long k1, long first, long there,
                                                 long width, real *panel) {
    for (long k = k0; k < k1; k++, panel += width) {
        const real *row = z + (index ? (long)index[k] : k) * stride + first;
        long j = 0;
        for (; j + LANES <= there; j += LANES) STORE(panel + j, LOAD(row + j));
        for (; j < there; j++) panel[j] = row[j];
        for (; j < width; j++) panel[j] = 0;
    }
}

// C has rows of N in whole vectors; `work` holds for each thread room for one block of a and of b.
void outer_sum(real *C, long M, long N, long K, const real *a, long a_stride,
               const int32_t *a_index, const real *b, long b_stride, const int32_t *b_index,
               real *work, long threads_wanted) {
    const long stride = (N + LANES - 1) / LANES * LANES;
    const long tiles = (M + TILE_ROWS - 1) / TILE_ROWS;
#ifdef _OPENMP
#pragma omp parallel num_threads(threads_wanted)
#endif
    {
        const long t0 = tiles * THREAD / THREADS, t1 = tiles * (THREAD + 1) / THREADS;
        const long room = (tiles * TILE_ROWS + TILE_VECTORS * LANES) * OUTER_DEPTH;
        real *as = work + THREAD * room, *bs = as + tiles * TILE_ROWS * OUTER_DEPTH;
        for (long k0 = 0; k0 < K && t0 < t1; k0 += OUTER_DEPTH) {
            const long k1 = k0 + OUTER_DEPTH < K ? k0 + OUTER_DEPTH : K, deep = k1 - k0;
            for (long t = t0; t < t1; t++) {
                const long there = M - t * TILE_ROWS < TILE_ROWS ? M - t * TILE_ROWS : TILE_ROWS;
                real *to = as + t * TILE_ROWS * OUTER_DEPTH;
                for (long k = k0; k < k1; k++, to += TILE_ROWS) {
                    const real *row =
                        a + (a_index ? (long)a_index[k] : k) * a_stride + t * TILE_ROWS;
                    if (there == TILE_ROWS) memcpy(to, row, TILE_ROWS * sizeof(real));
                    else for (long i = 0; i < TILE_ROWS; i++) to[i] = i < there ? row[i] : 0;
                }
            }
            for (long j = 0; j < stride; j += TILE_VECTORS * LANES) {
                const long left = (stride - j) / LANES;
                const int nv = left < TILE_VECTORS ? (int)left : TILE_VECTORS;
                const long there = N - j < nv * LANES ? N - j : nv * LANES;
                pack_columns(b, b_stride, b_index, k0, k1, j, there, nv * LANES, bs);
                for (long t = t0; t < t1; t++) {
                    const real *panel = as + t * TILE_ROWS * OUTER_DEPTH;
                    real *to = C + t * TILE_ROWS * stride + j;
                    switch (nv) {
                    case 1: outer_tile(TILE_ROWS, 1, deep, panel, bs, to, stride, k0 > 0); break;
                    case 2: outer_tile(TILE_ROWS, 2, deep, panel, bs, to, stride, k0 > 0); break;
#if TILE_VECTORS > 2
                    case 3: outer_tile(TILE_ROWS, 3, deep, panel, bs, to, stride, k0 > 0); break;
                    default: outer_tile(TILE_ROWS, 4, deep, panel, bs, to, stride, k0 > 0);
#endif
                    }
                }
            }
        }
    }
}
