// C[M][N] = sum over n of a[n][M] b[n][N]: the gradient of a matrix. Both operands are copied block by
// block into panels, so that rows of other time steps cost nothing more.

#define OUTER_DEPTH 128       /* rows of a pass: a block of b then stays in the nearest cache */
#define OUTER_BLOCKS 16       /* of columns of b that are packed at a time */
#define OUTER_PASSES 32       /* of one block, that are packed at a time */
#define OUTER_TILES 16        /* of a that are packed at a time */

// Every entry is summed in one order, whatever the number of threads.
INLINE void outer_tile(const int nv, long K, const real *a, const real *b, real *to, long stride,
                       int more) {
    vec c[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++)
            c[i][v] = more ? LOAD(to + i * stride + v * LANES) : splat(0);
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

static __attribute__((noinline, unused)) void outer_block(int nv, long K, const real *a,
                                                          const real *b, real *to, long stride,
                                                          int more) {
    switch (nv) {
    case 1: outer_tile(1, K, a, b, to, stride, more); return;
    case 2: outer_tile(2, K, a, b, to, stride, more); return;
#if TILE_VECTORS > 2
    case 3: outer_tile(3, K, a, b, to, stride, more); return;
    default: outer_tile(4, K, a, b, to, stride, more);
#endif
    }
}

// A block at the edge of C: what lies beyond stays as it is.
static __attribute__((noinline, unused)) void outer_edge(int nv, long K, const real *a,
                                                         const real *b, real *to, long stride,
                                                         int more, long rows, long columns) {
    real whole[TILE_ROWS * TILE_VECTORS * LANES];
    const long width = nv * LANES;
    if (more) {
        memset(whole, 0, sizeof whole);
        for (long i = 0; i < rows; i++)
            memcpy(whole + i * width, to + i * stride, columns * sizeof(real));
    }
    outer_block(nv, K, a, b, whole, width, more);
    for (long i = 0; i < rows; i++)
        memcpy(to + i * stride, whole + i * width, columns * sizeof(real));
}

// Columns first .. first + there of rows k0 .. k1 side by side, zero up to `width`.
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

// Tiles t0 .. t1 of rows k0 .. k1; several at a time, for a line of memory is wider than a tile.
static __attribute__((unused)) void pack_tiles(const real *z, long stride, const int32_t *index,
                                               long k0, long k1, long t0, long t1, long M,
                                               real *panels) {
    const long full = t1 * TILE_ROWS <= M ? t1 : t1 - 1;
    for (long k = k0; k < k1; k++) {
        const real *row = z + (index ? (long)index[k] : k) * stride;
        for (long t = t0; t < t1; t++) {
            real *to = panels + ((t - t0) * OUTER_DEPTH + k - k0) * TILE_ROWS;
            if (t < full) memcpy(to, row + t * TILE_ROWS, TILE_ROWS * sizeof(real));
            else
                for (long i = 0; i < TILE_ROWS; i++)
                    to[i] = t * TILE_ROWS + i < M ? row[t * TILE_ROWS + i] : 0;
        }
    }
}

// One operand of a sum: `width` columns of rows that are found through `index`, if there is one.
typedef struct {
    const real *rows;
    long stride, width;
    const int32_t *index;
} Operand;

static long tiles_of(const Operand *a) { return (a->width + TILE_ROWS - 1) / TILE_ROWS; }

// A block of columns of an operand: `nv` vectors from column j on, of which `columns` are there.
typedef struct {
    long v, j, columns;
    int nv;
} Block;

static Block block_at(const Operand *b, long nb, long v, long j) {
    if (v < nb && j >= b[v].width) v++, j = 0;
    if (v == nb) return (Block){v, 0, 0, 0};
    const long wide = b[v].width - j, left = (wide + LANES - 1) / LANES;
    const int nv = left < TILE_VECTORS ? (int)left : TILE_VECTORS;
    return (Block){v, j, wide < nv * LANES ? wide : nv * LANES, nv};
}

// Tiles t0 .. t1 of a times a packed block of b, added to what earlier rows have left.
static void outer_row(const Operand *a, long t0, long t1, const real *as, const real *bs,
                      const Block *block, long deep, real *C, long N, int more) {
    for (long t = t0; t < t1; t++) {
        const long left = a->width - t * TILE_ROWS;
        const long rows = left < TILE_ROWS ? left : TILE_ROWS;
        const real *from = as + (t - t0) * TILE_ROWS * OUTER_DEPTH;
        real *to = C + t * TILE_ROWS * N + block->j;
        if (rows < TILE_ROWS || block->columns < block->nv * LANES)
            outer_edge(block->nv, deep, from, bs, to, N, more, rows, block->columns);
        else outer_block(block->nv, deep, from, bs, to, N, more);
    }
}

// C[i * nb + j] = the sum for operands a[i] and b[j], for all of them at once: each is packed once.
// Some blocks of b are packed for many rows; a few tiles of a pass over them, and what those add to
// stays in the second cache. Of `work` each thread has `room` numbers (`geometry.py`).
static void outer_sums(const Operand *a, long na, const Operand *b, long nb, real *const *C, long K,
                       real *work, long room, long threads_wanted) {
    long tiles = 0;
    for (long i = 0; i < na; i++) tiles += tiles_of(a + i);
#ifdef _OPENMP
#pragma omp parallel num_threads(threads_wanted) if (threads_wanted > 1)
#endif
    {
        const long t0 = tiles * THREAD / THREADS, t1 = tiles * (THREAD + 1) / THREADS;
        const long width = TILE_VECTORS * LANES;
        real *const as = work + THREAD * room, *const bs = as + OUTER_TILES * TILE_ROWS * OUTER_DEPTH;
        Block group[OUTER_BLOCKS], at = block_at(b, nb, 0, 0);
        while (at.v < nb && t0 < t1) {
            long count = 0;
            for (; count < OUTER_BLOCKS && at.v < nb; at = block_at(b, nb, at.v, at.j + width))
                group[count++] = at;
            const long most = OUTER_PASSES / count * OUTER_DEPTH, deep = K < most ? K : most;
            for (long s = 0; s < K || s == 0; s += most) {
                const long end = s + most < K ? s + most : K;
                for (long g = 0; g < count; g++) {
                    const Operand *from = b + group[g].v;
                    pack_columns(from->rows, from->stride, from->index, s, end, group[g].j,
                                 group[g].columns, group[g].nv * LANES, bs + g * deep * width);
                }
                for (long i = 0, first = 0; i < na; first += tiles_of(a + i++)) {
                    const long last = t1 - first < tiles_of(a + i) ? t1 - first : tiles_of(a + i);
                    for (long t = t0 > first ? t0 - first : 0; t < last; t += OUTER_TILES)
                        for (long k = s; k < end || k == 0; k += OUTER_DEPTH) {
                            const long stop = k + OUTER_DEPTH < end ? k + OUTER_DEPTH : end;
                            const long until = t + OUTER_TILES < last ? t + OUTER_TILES : last;
                            pack_tiles(a[i].rows, a[i].stride, a[i].index, k, stop, t, until,
                                       a[i].width, as);
                            for (long g = 0; g < count; g++)
                                outer_row(a + i, t, until, as,
                                          bs + g * deep * width + (k - s) * group[g].nv * LANES,
                                          group + g, stop - k, C[i * nb + group[g].v],
                                          b[group[g].v].width, k > 0);
                        }
                }
            }
        }
    }
}

void outer_sum(real *C, long M, long N, long K, const real *a, long a_stride,
               const int32_t *a_index, const real *b, long b_stride, const int32_t *b_index,
               real *work, long room, long threads_wanted) {
    const Operand left = {a, a_stride, M, a_index}, right = {b, b_stride, N, b_index};
    outer_sums(&left, 1, &right, 1, &C, K, work, room, threads_wanted);
}
