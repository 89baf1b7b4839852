// Products of few rows: the matrix is read where it lies, once; packing it would cost more.

INLINE vec first_of(const real *z, long n) {
    vec result = splat(0);
    memcpy(&result, z, n * sizeof(real));
    return result;
}

// By halves, in memory: a narrower load finds what a wider store has just left.
INLINE real sum_of(vec x) {
    real part[LANES] __attribute__((aligned(64)));
    STORE(part, x);
#define HALVE(bytes)                                                                             \
    {                                                                                            \
        typedef real narrow __attribute__((vector_size(bytes), aligned(sizeof(real)), may_alias)); \
        *(narrow *)part = *(narrow *)part + *(narrow *)((char *)part + (bytes));                  \
    }
#if VECTOR_BYTES == 64
    HALVE(32)
#endif
#if VECTOR_BYTES >= 32
    HALVE(16)
#endif
#undef HALVE
#if IS_DOUBLE
    return part[0] + part[1];
#else
    return (part[0] + part[2]) + (part[1] + part[3]);
#endif
}

// `nv` outputs of m rows; W has rows of K.
INLINE void dots(const int m, const int nv, long K, const real *const *rows, const real *W,
                 real *sums, long stride, int more) {
    vec c[2][TILE_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < m; i++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) c[i][v] = splat(0);
    long k = 0;
    for (; k + LANES <= K; k += LANES)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) {
            const vec w = LOAD(W + v * K + k);
#pragma GCC unroll 8
            for (int i = 0; i < m; i++) c[i][v] += w * LOAD(rows[i] + k);
        }
    if (k < K)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) {
            const vec w = first_of(W + v * K + k, K - k);
#pragma GCC unroll 8
            for (int i = 0; i < m; i++) c[i][v] += w * first_of(rows[i] + k, K - k);
        }
#pragma GCC unroll 8
    for (int i = 0; i < m; i++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) {
            const real sum = sum_of(c[i][v]);
            sums[i * stride + v] = more ? sums[i * stride + v] + sum : sum;
        }
}

INLINE void dots_of(const int m, long K, const real *const *rows, const real *W, long there,
                    real *sums, long stride, int more) {
    long l = 0;
    for (; l + TILE_VECTORS <= there; l += TILE_VECTORS)
        dots(m, TILE_VECTORS, K, rows, W + l * K, sums + l, stride, more);
    for (; l < there; l++) dots(m, 1, K, rows, W + l * K, sums + l, stride, more);
}

// W has rows of n: each is added where its entry of the vector says.
INLINE void rows_of(const int m, long K, const real *const *rows, const real *W, long n,
                    long there, real *sums, long stride, int more) {
    vec c[2];
#pragma GCC unroll 8
    for (int i = 0; i < m; i++) c[i] = more ? LOAD(sums + i * stride) : splat(0);
    if (there == LANES)
        for (long k = 0; k < K; k++) {
            const vec w = LOAD(W + k * n);
#pragma GCC unroll 8
            for (int i = 0; i < m; i++) c[i] += rows[i][k] * w;
        }
    else
        for (long k = 0; k < K; k++) {
            const vec w = first_of(W + k * n, there);
#pragma GCC unroll 8
            for (int i = 0; i < m; i++) c[i] += rows[i][k] * w;
        }
#pragma GCC unroll 8
    for (int i = 0; i < m; i++) STORE(sums + i * stride, c[i]);
}

// One vector of sums from output `first` on, for m rows; outputs beyond n are zero.
static __attribute__((noinline, unused)) void direct(int m, long K, const real *const *rows,
                                                     const real *W, long n, int transposed,
                                                     long first, real *sums, long stride,
                                                     int more) {
    const long there = n - first < LANES ? n - first : LANES;
    if (there < LANES && !more)
        for (int i = 0; i < m; i++) STORE(sums + i * stride, splat(0));
    if (there <= 0) return;
    W += transposed ? first : first * K;
    for (int i = 0; i < m; i += 2, rows += 2, sums += 2 * stride) {
        if (transposed && i + 1 < m) rows_of(2, K, rows, W, n, there, sums, stride, more);
        else if (transposed) rows_of(1, K, rows, W, n, there, sums, stride, more);
        else if (i + 1 < m) dots_of(2, K, rows, W, there, sums, stride, more);
        else dots_of(1, K, rows, W, there, sums, stride, more);
    }
}
