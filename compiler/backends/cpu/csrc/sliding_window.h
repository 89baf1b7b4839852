// Sliding windows over time. `x` is the window index: the packed row of each row of a window, counted
// from the first row of the first step, or MISSING. Symbols are below `symbol_count`; others are none.
#define MISSING INT32_MIN

INLINE real window_dot(const real *a, const real *b, long n) {
    vec s0 = splat(0), s1 = splat(0), s2 = splat(0), s3 = splat(0);
    long j = 0;
    for (; j + 4 * LANES <= n; j += 4 * LANES) {
        s0 += LOAD(a + j) * LOAD(b + j);
        s1 += LOAD(a + j + LANES) * LOAD(b + j + LANES);
        s2 += LOAD(a + j + 2 * LANES) * LOAD(b + j + 2 * LANES);
        s3 += LOAD(a + j + 3 * LANES) * LOAD(b + j + 3 * LANES);
    }
    for (; j + LANES <= n; j += LANES) s0 += LOAD(a + j) * LOAD(b + j);
    s0 = (s0 + s1) + (s2 + s3);
    real sum = 0;
    for (long l = 0; l < LANES; l++) sum += s0[l];
    for (; j < n; j++) sum += a[j] * b[j];
    return sum;
}

static __attribute__((unused)) void window_scores(real *to, const int32_t *x, long rows,
                                                  const real *v, long stride, const real *q,
                                                  long n) {
    for (long i = 0; i < rows; i++)
        to[i] = x[i] == MISSING ? 0 : window_dot(v + (long)x[i] * stride, q, n);
}

// Σ aᵢ rowᵢ, where aᵢ is a[i * step + x[i] * skip].
INLINE void window_sum(real *to, const int32_t *x, long rows, const real *a, long step, long skip,
                       const real *v, long stride, long n) {
    for (long u = 0; u < n; u += 4 * LANES) {
        vec s[4] = {splat(0), splat(0), splat(0), splat(0)};
        long most = (n - u + LANES - 1) / LANES;
        if (most >= 4) {
            for (long i = 0; i < rows; i++) {
                if (x[i] == MISSING) continue;
                const real *row = v + (long)x[i] * stride + u;
                vec weight = splat(a[i * step + x[i] * skip]);
                for (int k = 0; k < 4; k++) s[k] += weight * LOAD(row + k * LANES);
            }
            most = 4;
        } else {
            for (long i = 0; i < rows; i++) {
                if (x[i] == MISSING) continue;
                const real *row = v + (long)x[i] * stride + u;
                vec weight = splat(a[i * step + x[i] * skip]);
                for (int k = 0; k < most; k++) s[k] += weight * LOAD(row + k * LANES);
            }
        }
        for (int k = 0; k < most; k++) STORE(to + u + k * LANES, s[k]);
    }
}

static __attribute__((unused)) void window_mix(real *to, const int32_t *x, long rows, const real *v,
                                               long stride, const real *a, long n) {
    window_sum(to, x, rows, a, 1, 0, v, stride, n);
}

// The gradient of a row, from the readers whose windows hold it. The earliest reader, for which it
// is the last row of the window, comes first.
static __attribute__((unused)) void window_unmix(real *to, const int32_t *x, long rows,
                                                 const real *a, long skip, const real *u,
                                                 long stride, long n) {
    window_sum(to, x, rows, a + rows - 1, -1, skip, u, stride, n);
}

INLINE long symbol_at(const int32_t *x, const int32_t *s, long i, long symbol_count) {
    long symbol = x[i] == MISSING ? symbol_count : s[x[i]];
    return symbol < symbol_count ? symbol : -1;
}

static __attribute__((unused)) void window_symbol_scores(real *to, const int32_t *x, long rows,
                                                         const int32_t *s, long symbol_count,
                                                         const real *q) {
    for (long i = 0; i < rows; i++) {
        long symbol = symbol_at(x, s, i, symbol_count);
        to[i] = symbol < 0 ? 0 : q[symbol];
    }
}

static __attribute__((unused)) void window_matches(real *to, const int32_t *x, long rows,
                                                   const int32_t *s, long symbol_count,
                                                   const int32_t *symbol) {
    for (long i = 0; i < rows; i++) to[i] = symbol_at(x, s, i, symbol_count) == *symbol;
}

static __attribute__((unused)) void window_symbol_mix(real *to, const int32_t *x, long rows,
                                                      const int32_t *s, long symbol_count,
                                                      const real *a) {
    memset(to, 0, symbol_count * sizeof(real));
    for (long i = 0; i < rows; i++) {
        long symbol = symbol_at(x, s, i, symbol_count);
        if (symbol >= 0) to[symbol] += a[i];
    }
}

static __attribute__((unused)) void window_log_mix(real *to, const int32_t *x, long rows,
                                                   const int32_t *s, long symbol_count,
                                                   const real *l, const real *m) {
    for (long j = 0; j < symbol_count; j++) to[j] = -(real)INFINITY;
    for (long i = 0; i < rows; i++) {
        long symbol = symbol_at(x, s, i, symbol_count);
        if (symbol < 0 || m[i] == 0) continue;
        real a = to[symbol], b = l[i];
        if (a == -(real)INFINITY) to[symbol] = b;
        else if (b != -(real)INFINITY)
            to[symbol] = (a > b ? a : b) + LIBM(log1p)(LIBM(exp)(-LIBM(fabs)(a - b)));
    }
}

static __attribute__((unused)) void window_shares(real *to, const int32_t *x, long rows,
                                                  const int32_t *s, long symbol_count,
                                                  const real *l, const real *y, const real *m) {
    for (long i = 0; i < rows; i++) {
        long symbol = symbol_at(x, s, i, symbol_count);
        to[i] = symbol < 0 || m[i] == 0 ? 0 : LIBM(exp)(l[i] - y[symbol]);
    }
}
