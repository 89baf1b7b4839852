// Products of few rows: the matrix is read where it lies, once; packing it would cost more.

INLINE vec first_of(const real *z, long n) {
    vec result = splat(0);
    memcpy(&result, z, n * sizeof(real));
    return result;
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
#ifndef MIX
#define MIX(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif

// Half as many vectors as there are lanes -> one whose lanes 2 i and 2 i + 1 together are the sum of
// vector i; and two of these -> the sums in their order.
INLINE vec half_folded(vec *c) {
#define FOLD(n, low, high)                                  \
    for (int i = 0; i < n; i++) {                           \
        const vec a = c[i], b = c[i + n];                   \
        c[i] = MIX(a, b, LIST_ low) + MIX(a, b, LIST_ high); \
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

INLINE vec folded(vec a, vec b) {
#if VECTOR_BYTES / (IS_DOUBLE ? 8 : 4) == 16
    return MIX(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
           MIX(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#elif VECTOR_BYTES / (IS_DOUBLE ? 8 : 4) == 8
    return MIX(a, b, 0, 2, 4, 6, 8, 10, 12, 14) + MIX(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#elif VECTOR_BYTES / (IS_DOUBLE ? 8 : 4) == 4
    return MIX(a, b, 0, 2, 4, 6) + MIX(a, b, 1, 3, 5, 7);
#else
    return MIX(a, b, 0, 2) + MIX(a, b, 1, 3);
#endif
}

// The last entries of a row of at least LANES: those before them that share their vector as zeros.
INLINE vec last_of(const real *z, ivec there) { return (vec)((ivec)LOAD(z - LANES) & there); }

INLINE void put(real *sums, vec sum, int more) {
    if (more) sum += LOAD(sums);
    STORE(sums, sum);
}


#define HALF (LANES / 2)

// LANES outputs of m rows, `count` halves of them at a time; W has rows of K.
INLINE void dots(const int m, const int count, long K, const real *const *rows, const real *W,
                 real *sums, long stride, int more) {
    ivec lane = {0};
#pragma GCC unroll 16
    for (int l = 0; l < LANES; l++) lane[l] = l;
    const ivec there = lane >= isplat((integer)(LANES - K % LANES));
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
                const vec z = whole ? last_of(w + (l + 1) * K, there) : first_of(w + l * K, K);
#pragma GCC unroll 2
                for (int i = 0; i < m; i++)
                    c[i][l] += z * (whole ? last_of(rows[i] + K, there) : first_of(rows[i], K));
            }
#pragma GCC unroll 2
        for (int i = 0; i < m; i++)
#pragma GCC unroll 2
            for (int g = 0; g < count; g++) half[i][h + g] = half_folded(c[i] + g * HALF);
    }
#pragma GCC unroll 2
    for (int i = 0; i < m; i++) put(sums + i * stride, folded(half[i][0], half[i][1]), more);
}

// The same for less than LANES outputs, the others zero.
INLINE void few_dots(const int m, long K, const real *const *rows, const real *W, long there,
                     real *sums, long stride, int more) {
    for (int i = 0; i < m; i++, sums += stride) {
        if (!more) STORE(sums, splat(0));
        for (long l = 0; l < there; l++) {
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

// `nv` vectors of outputs of m rows; W has rows of n: each is added where its entry says.
INLINE void rows_of(const int m, const int nv, long K, const real *const *rows, const real *W,
                    long n, real *sums, long stride, int more) {
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
        for (int v = 0; v < nv; v++) put(sums + i * stride + v * LANES, c[i][v], more);
}

INLINE void few_rows_of(const int m, long K, const real *const *rows, const real *W, long n,
                        long there, real *sums, long stride, int more) {
    for (int i = 0; i < m; i++) {
        vec c = splat(0);
        for (long k = 0; k < K; k++) c += rows[i][k] * first_of(W + k * n, there);
        put(sums + i * stride, c, more);
    }
}

// `nv` vectors of sums from output `first` on, for m rows; outputs beyond n are zero.
static __attribute__((noinline, unused)) void direct(int m, int nv, long K, const real *const *rows,
                                                     const real *W, long n, int transposed,
                                                     long first, real *sums, long stride,
                                                     int more) {
#define ROWS(call_1, call_2)                                     \
    for (int i = 0; i < m; i += 2) {                             \
        const real *const *const r = rows + i;                   \
        real *const s = sums + i * stride;                       \
        if (i + 1 < m) call_2;                                   \
        else call_1;                                             \
    }
    W += transposed ? first : first * K;
    while (nv > 0) {
        const long there = n - first;
        int now = 1;
        if (there <= 0) {
            if (!more)
                for (int i = 0; i < m; i++) STORE(sums + i * stride, splat(0));
        } else if (transposed && nv >= TILE_VECTORS && there >= TILE_VECTORS * LANES) {
            now = TILE_VECTORS;
            ROWS(rows_of(1, TILE_VECTORS, K, r, W, n, s, stride, more),
                 rows_of(2, TILE_VECTORS, K, r, W, n, s, stride, more))
        } else if (there >= LANES) {
            ROWS(transposed ? rows_of(1, 1, K, r, W, n, s, stride, more)
                            : dots(1, 2, K, r, W, s, stride, more),
                 transposed ? rows_of(2, 1, K, r, W, n, s, stride, more)
                            : dots(2, 1, K, r, W, s, stride, more))
        } else if (transposed) {
            few_rows_of(m, K, rows, W, n, there, sums, stride, more);
        } else {
            few_dots(m, K, rows, W, there, sums, stride, more);
        }
        nv -= now, first += now * LANES, sums += now * LANES;
        W += now * (transposed ? LANES : LANES * K);
    }
#undef ROWS
}
