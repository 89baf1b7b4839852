// GEMM of few rows: the matrix is read in place, once, because packing it would cost more.

INLINE vec load_partial(const real *z, long n) {
    vec result = splat(0);
    memcpy(&result, z, n * sizeof(real));
    return result;
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
#ifndef SHUFFLE
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif

// Sums over the lanes of LANES vectors, in two steps. fold_half: LANES / 2 vectors -> one in which
// lanes 2 i and 2 i + 1 add up to the sum of vector i. fold: two of these -> the sums in order.
INLINE vec fold_half(vec *c) {
#define FOLD(n, low, high)                                  \
    for (int i = 0; i < n; i++) {                           \
        const vec a = c[i], b = c[i + n];                   \
        c[i] = SHUFFLE(a, b, LIST_ low) + SHUFFLE(a, b, LIST_ high); \
    }
#define LIST_(...) __VA_ARGS__
#if VECTOR_BYTES / (IS_DOUBLE ? 8 : 4) == 16
#pragma GCC unroll 8
    FOLD(4, (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
         (8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#pragma GCC unroll 8
    FOLD(2, (0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
         (4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
    FOLD(1, (0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
         (2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
#elif VECTOR_BYTES / (IS_DOUBLE ? 8 : 4) == 8
#pragma GCC unroll 8
    FOLD(2, (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15))
    FOLD(1, (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15))
#elif VECTOR_BYTES / (IS_DOUBLE ? 8 : 4) == 4
    FOLD(1, (0, 1, 4, 5), (2, 3, 6, 7))
#endif
#undef FOLD
    return c[0];
}

INLINE vec fold(vec a, vec b) {
#if VECTOR_BYTES / (IS_DOUBLE ? 8 : 4) == 16
    return SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
           SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#elif VECTOR_BYTES / (IS_DOUBLE ? 8 : 4) == 8
    return SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14) + SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#elif VECTOR_BYTES / (IS_DOUBLE ? 8 : 4) == 4
    return SHUFFLE(a, b, 0, 2, 4, 6) + SHUFFLE(a, b, 1, 3, 5, 7);
#else
    return SHUFFLE(a, b, 0, 2) + SHUFFLE(a, b, 1, 3);
#endif
}

// The last K % LANES entries of a row of at least LANES, behind zeros in place of earlier entries.
INLINE vec load_tail(const real *z, ivec valid) { return (vec)((ivec)LOAD(z - LANES) & valid); }

INLINE void store_sum(real *sums, vec sum, int accumulate) {
    if (accumulate) sum += LOAD(sums);
    STORE(sums, sum);
}

#define HALF (LANES / 2)

// LANES outputs of m rows as dot products, `count` halves of them at a time; W has rows of K.
INLINE void dot_columns(const int m, const int count, long K, const real *const *rows,
                        const real *W, real *sums, long stride, int accumulate) {
    ivec lane = {0};
#pragma GCC unroll 16
    for (int l = 0; l < LANES; l++) lane[l] = l;
    const ivec valid = lane >= splat_int((integer)(LANES - K % LANES));
    vec half[2][2];
#pragma GCC unroll 2
    for (int h = 0; h < 2; h += count) {
        vec c[2][LANES];
        const real *const w = W + h * HALF * K;
#pragma GCC unroll 2
        for (int i = 0; i < m; i++)
#pragma GCC unroll 16
            for (int l = 0; l < count * HALF; l++) c[i][l] = splat(0);
        long k = 0;
        for (; k + LANES <= K; k += LANES)
#pragma GCC unroll 16
            for (int l = 0; l < count * HALF; l++)
#pragma GCC unroll 2
                for (int i = 0; i < m; i++) c[i][l] += LOAD(w + l * K + k) * LOAD(rows[i] + k);
        if (k < K)
#pragma GCC unroll 16
            for (int l = 0; l < count * HALF; l++) {
                const int whole = K >= LANES;
                const vec z = whole ? load_tail(w + (l + 1) * K, valid) : load_partial(w + l * K, K);
#pragma GCC unroll 2
                for (int i = 0; i < m; i++)
                    c[i][l] += z * (whole ? load_tail(rows[i] + K, valid) : load_partial(rows[i], K));
            }
#pragma GCC unroll 2
        for (int i = 0; i < m; i++)
#pragma GCC unroll 2
            for (int g = 0; g < count; g++) half[i][h + g] = fold_half(c[i] + g * HALF);
    }
#pragma GCC unroll 2
    for (int i = 0; i < m; i++)
        store_sum(sums + i * stride, fold(half[i][0], half[i][1]), accumulate);
}

// The same for less than LANES outputs; the others are zero.
INLINE void dot_columns_partial(const int m, long K, const real *const *rows, const real *W,
                                long valid, real *sums, long stride, int accumulate) {
    for (int i = 0; i < m; i++, sums += stride) {
        if (!accumulate) STORE(sums, splat(0));
        for (long l = 0; l < valid; l++) {
            const real *const w = W + l * K;
            vec c = splat(0);
            long k = 0;
            for (; k + LANES <= K; k += LANES) c += LOAD(w + k) * LOAD(rows[i] + k);
            real sum = 0;
            for (long u = 0; u < LANES; u++) sum += c[u];
            for (; k < K; k++) sum += w[k] * rows[i][k];
            sums[l] += sum;
        }
    }
}

// `nv` vectors of outputs of m rows as sums of scaled rows of W, which has rows of n.
INLINE void axpy_rows(const int m, const int nv, long K, const real *const *rows, const real *W,
                      long n, real *sums, long stride, int accumulate) {
    vec c[2][TILE_VECTORS];
#pragma GCC unroll 2
    for (int i = 0; i < m; i++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) c[i][v] = splat(0);
    for (long k = 0; k < K; k++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++)
#pragma GCC unroll 2
            for (int i = 0; i < m; i++) c[i][v] += rows[i][k] * LOAD(W + k * n + v * LANES);
#pragma GCC unroll 2
    for (int i = 0; i < m; i++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) store_sum(sums + i * stride + v * LANES, c[i][v], accumulate);
}

INLINE void axpy_rows_partial(const int m, long K, const real *const *rows, const real *W, long n,
                              long valid, real *sums, long stride, int accumulate) {
    for (int i = 0; i < m; i++) {
        vec c = splat(0);
        for (long k = 0; k < K; k++) c += rows[i][k] * load_partial(W + k * n, valid);
        store_sum(sums + i * stride, c, accumulate);
    }
}

// `nv` vectors of outputs from output `first` on, for m rows; outputs beyond n are zero.
static __attribute__((noinline, unused)) void gemm_few_rows(int m, int nv, long K,
                                                            const real *const *rows, const real *W,
                                                            long n, int transposed, long first,
                                                            real *sums, long stride,
                                                            int accumulate) {
#define DISPATCH_ROWS(call_1, call_2)                                     \
    for (int i = 0; i < m; i += 2) {                             \
        const real *const *const r = rows + i;                   \
        real *const s = sums + i * stride;                       \
        if (i + 1 < m) call_2;                                   \
        else call_1;                                             \
    }
    W += transposed ? first : first * K;
    while (nv > 0) {
        const long valid = n - first;
        int now = 1;
        if (valid <= 0) {
            if (!accumulate)
                for (int i = 0; i < m; i++) STORE(sums + i * stride, splat(0));
        } else if (transposed && nv >= TILE_VECTORS && valid >= TILE_VECTORS * LANES) {
            now = TILE_VECTORS;
            DISPATCH_ROWS(axpy_rows(1, TILE_VECTORS, K, r, W, n, s, stride, accumulate),
                 axpy_rows(2, TILE_VECTORS, K, r, W, n, s, stride, accumulate))
        } else if (valid >= LANES) {
            DISPATCH_ROWS(transposed ? axpy_rows(1, 1, K, r, W, n, s, stride, accumulate)
                            : dot_columns(1, 2, K, r, W, s, stride, accumulate),
                 transposed ? axpy_rows(2, 1, K, r, W, n, s, stride, accumulate)
                            : dot_columns(2, 1, K, r, W, s, stride, accumulate))
        } else if (transposed) {
            axpy_rows_partial(m, K, rows, W, n, valid, sums, stride, accumulate);
        } else {
            dot_columns_partial(m, K, rows, W, valid, sums, stride, accumulate);
        }
        nv -= now, first += now * LANES, sums += now * LANES;
        W += now * (transposed ? LANES : LANES * K);
    }
#undef DISPATCH_ROWS
}
