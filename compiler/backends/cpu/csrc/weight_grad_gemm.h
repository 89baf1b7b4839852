// The weight gradient GEMM: C[M][N] = sum over rows n of a[n][M] b[n][N]. Both operands are packed
// block by block, so that rows of other time steps cost nothing more.

#define DEPTH_BLOCK 128       /* rows of a pass: a block of b then stays in the first-level cache */
#define COLUMN_BLOCKS 16       /* column blocks of b that are packed at a time */
#define DEPTH_PASSES 32       /* passes of one block that are packed at a time */
#define ROW_TILES 16        /* tiles of a that are packed at a time */

// Every entry is summed in one order, whatever the number of threads.
INLINE void weight_grad_tile(const int nv, long K, const real *a, const real *b, real *to,
                             long stride, int accumulate) {
    vec c[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++)
            c[i][v] = accumulate ? LOAD(to + i * stride + v * LANES) : splat(0);
    for (long k = 0; k < K; k++, a += TILE_ROWS, b += nv * LANES) {
        vec w[TILE_VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) w[v] = LOAD(b + v * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < TILE_ROWS; i++) {
            vec x = splat(a[i]);
#pragma GCC unroll 8
            for (int v = 0; v < nv; v++) c[i][v] += x * w[v];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) STORE(to + i * stride + v * LANES, c[i][v]);
}

static __attribute__((noinline, unused)) void weight_grad_block(int nv, long K, const real *a,
                                                                const real *b, real *to,
                                                                long stride, int accumulate) {
    switch (nv) {
    case 1: weight_grad_tile(1, K, a, b, to, stride, accumulate); return;
    case 2: weight_grad_tile(2, K, a, b, to, stride, accumulate); return;
#if TILE_VECTORS > 2
    case 3: weight_grad_tile(3, K, a, b, to, stride, accumulate); return;
    default: weight_grad_tile(4, K, a, b, to, stride, accumulate);
#endif
    }
}

// A block at the edge of C: memory beyond stays as it is.
static __attribute__((noinline, unused)) void weight_grad_edge(int nv, long K, const real *a,
                                                               const real *b, real *to, long stride,
                                                               int accumulate, long rows,
                                                               long columns) {
    real whole[TILE_ROWS * TILE_VECTORS * LANES];
    const long width = nv * LANES;
    if (accumulate) {
        memset(whole, 0, sizeof whole);
        for (long i = 0; i < rows; i++)
            memcpy(whole + i * width, to + i * stride, columns * sizeof(real));
    }
    weight_grad_block(nv, K, a, b, whole, width, accumulate);
    for (long i = 0; i < rows; i++)
        memcpy(to + i * stride, whole + i * width, columns * sizeof(real));
}

// Pack columns first .. first + valid of rows k0 .. k1 side by side, zero up to `width`.
static __attribute__((unused)) void pack_columns(const real *z, long stride, const int32_t *index,
                                                 long k0, long k1, long first, long valid,
                                                 long width, real *panel) {
    for (long k = k0; k < k1; k++, panel += width) {
        const real *row = z + (index ? (long)index[k] : k) * stride + first;
        long j = 0;
        for (; j + LANES <= valid; j += LANES) STORE(panel + j, LOAD(row + j));
        for (; j < valid; j++) panel[j] = row[j];
        for (; j < width; j++) panel[j] = 0;
    }
}

// Pack tiles t0 .. t1 of rows k0 .. k1; several at a time, as a cache line is wider than a tile.
static __attribute__((unused)) void pack_tiles(const real *z, long stride, const int32_t *index,
                                               long k0, long k1, long t0, long t1, long M,
                                               real *panels) {
    const long full = t1 * TILE_ROWS <= M ? t1 : t1 - 1;
    for (long k = k0; k < k1; k++) {
        const real *row = z + (index ? (long)index[k] : k) * stride;
        for (long t = t0; t < t1; t++) {
            real *to = panels + ((t - t0) * DEPTH_BLOCK + k - k0) * TILE_ROWS;
            if (t < full) memcpy(to, row + t * TILE_ROWS, TILE_ROWS * sizeof(real));
            else
                for (long i = 0; i < TILE_ROWS; i++)
                    to[i] = t * TILE_ROWS + i < M ? row[t * TILE_ROWS + i] : 0;
        }
    }
}

// One operand of a sum: `width` columns of rows, found through `index` unless that is NULL.
typedef struct {
    const real *rows;
    long stride, width;
    const int32_t *index;
} Operand;

static long tile_count(const Operand *a) { return (a->width + TILE_ROWS - 1) / TILE_ROWS; }

// A block of columns of operand v: `nv` vectors from column j on, with `columns` real columns.
typedef struct {
    long v, j, columns;
    int nv;
} ColumnBlock;

static ColumnBlock column_block_at(const Operand *b, long nb, long v, long j) {
    if (v < nb && j >= b[v].width) v++, j = 0;
    if (v == nb) return (ColumnBlock){v, 0, 0, 0};
    const long wide = b[v].width - j, left = (wide + LANES - 1) / LANES;
    const int nv = left < TILE_VECTORS ? (int)left : TILE_VECTORS;
    return (ColumnBlock){v, j, wide < nv * LANES ? wide : nv * LANES, nv};
}

// Tiles t0 .. t1 of a times a packed block of b; with `accumulate` added to sums of earlier rows.
static void weight_grad_tiles(const Operand *a, long t0, long t1, const real *as, const real *bs,
                              const ColumnBlock *block, long deep, real *C, long N,
                              int accumulate) {
    for (long t = t0; t < t1; t++) {
        const long left = a->width - t * TILE_ROWS;
        const long rows = left < TILE_ROWS ? left : TILE_ROWS;
        const real *from = as + (t - t0) * TILE_ROWS * DEPTH_BLOCK;
        real *to = C + t * TILE_ROWS * N + block->j;
        if (rows < TILE_ROWS || block->columns < block->nv * LANES)
            weight_grad_edge(block->nv, deep, from, bs, to, N, accumulate, rows, block->columns);
        else weight_grad_block(block->nv, deep, from, bs, to, N, accumulate);
    }
}

// C[i * nb + j] = the sum for operands a[i] and b[j], for all pairs: each operand is packed once.
// Some blocks of b are packed for many rows; a few tiles of a pass over them, and their part of C
// stays in the second-level cache. Each thread has `room` numbers of `work` (`packing_size`).
static void weight_grad_gemms(const Operand *a, long na, const Operand *b, long nb, real *const *C,
                              long K, real *work, long room, long thread_count) {
    long tiles = 0;
    for (long i = 0; i < na; i++) tiles += tile_count(a + i);
#ifdef _OPENMP
#pragma omp parallel num_threads(thread_count) if (thread_count > 1)
#endif
    {
        const long t0 = tiles * THREAD / THREADS, t1 = tiles * (THREAD + 1) / THREADS;
        const long width = TILE_VECTORS * LANES;
        real *const as = work + THREAD * room, *const bs = as + ROW_TILES * TILE_ROWS * DEPTH_BLOCK;
        ColumnBlock group[COLUMN_BLOCKS], at = column_block_at(b, nb, 0, 0);
        while (at.v < nb && t0 < t1) {
            long count = 0;
            for (; count < COLUMN_BLOCKS && at.v < nb; at = column_block_at(b, nb, at.v, at.j + width))
                group[count++] = at;
            const long most = DEPTH_PASSES / count * DEPTH_BLOCK, deep = K < most ? K : most;
            for (long s = 0; s < K || s == 0; s += most) {
                const long end = s + most < K ? s + most : K;
                for (long g = 0; g < count; g++) {
                    const Operand *from = b + group[g].v;
                    pack_columns(from->rows, from->stride, from->index, s, end, group[g].j,
                                 group[g].columns, group[g].nv * LANES, bs + g * deep * width);
                }
                for (long i = 0, first = 0; i < na; first += tile_count(a + i++)) {
                    const long last = t1 - first < tile_count(a + i) ? t1 - first : tile_count(a + i);
                    for (long t = t0 > first ? t0 - first : 0; t < last; t += ROW_TILES)
                        for (long k = s; k < end || k == 0; k += DEPTH_BLOCK) {
                            const long stop = k + DEPTH_BLOCK < end ? k + DEPTH_BLOCK : end;
                            const long until = t + ROW_TILES < last ? t + ROW_TILES : last;
                            pack_tiles(a[i].rows, a[i].stride, a[i].index, k, stop, t, until,
                                       a[i].width, as);
                            for (long g = 0; g < count; g++)
                                weight_grad_tiles(a + i, t, until, as,
                                          bs + g * deep * width + (k - s) * group[g].nv * LANES,
                                          group + g, stop - k, C[i * nb + group[g].v],
                                          b[group[g].v].width, k > 0);
                        }
                }
            }
        }
    }
}

void weight_grad_gemm(real *C, long M, long N, long K, const real *a, long a_stride,
                      const int32_t *a_index, const real *b, long b_stride, const int32_t *b_index,
                      real *work, long room, long thread_count) {
    const Operand left = {a, a_stride, M, a_index}, right = {b, b_stride, N, b_index};
    weight_grad_gemms(&left, 1, &right, 1, &C, K, work, room, thread_count);
}
