// Windows of time, one pass over the rows of a window. `x` says for each row where it lies, counted
// from the first row of the first step; a symbol of `none` or more is no symbol.
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

// Σ aᵢ rowᵢ, where aᵢ is at a + i * step + (the row's place) * skip.
INLINE void window_sum(real *to, const int32_t *x, long rows, const real *a, long step, long skip,
                       const real *v, long stride, long n) {
    for (long u = 0; u < n; u += 4 * LANES) {
        vec s[4] = {splat(0), splat(0), splat(0), splat(0)};
        long most = (n - u + LANES - 1) / LANES;
        if (most >= 4) {
            for (long i = 0; i < rows; i++) {
                if (x[i] == MISSING) continue;
                const real *row = v + (long)x[i] * stride + u;
                vec share = splat(a[i * step + x[i] * skip]);
                for (int k = 0; k < 4; k++) s[k] += share * LOAD(row + k * LANES);
            }
            most = 4;
        } else {
            for (long i = 0; i < rows; i++) {
                if (x[i] == MISSING) continue;
                const real *row = v + (long)x[i] * stride + u;
                vec share = splat(a[i * step + x[i] * skip]);
                for (int k = 0; k < most; k++) s[k] += share * LOAD(row + k * LANES);
            }
        }
        for (int k = 0; k < most; k++) STORE(to + u + k * LANES, s[k]);
    }
}

static __attribute__((unused)) void window_mix(real *to, const int32_t *x, long rows, const real *v,
                                               long stride, const real *a, long n) {
    window_sum(to, x, rows, a, 1, 0, v, stride, n);
}

// The readers of a row, the earliest first: the last row of its window is this one.
static __attribute__((unused)) void window_unmix(real *to, const int32_t *x, long rows,
                                                 const real *a, long skip, const real *u,
                                                 long stride, long n) {
    window_sum(to, x, rows, a + rows - 1, -1, skip, u, stride, n);
}

INLINE long window_symbol(const int32_t *x, const int32_t *s, long i, long none) {
    long symbol = x[i] == MISSING ? none : s[x[i]];
    return symbol < none ? symbol : -1;
}

static __attribute__((unused)) void window_symbol_scores(real *to, const int32_t *x, long rows,
                                                         const int32_t *s, long none,
                                                         const real *q) {
    for (long i = 0; i < rows; i++) {
        long symbol = window_symbol(x, s, i, none);
        to[i] = symbol < 0 ? 0 : q[symbol];
    }
}

static __attribute__((unused)) void window_matches(real *to, const int32_t *x, long rows,
                                                   const int32_t *s, long none,
                                                   const int32_t *symbol) {
    for (long i = 0; i < rows; i++) to[i] = window_symbol(x, s, i, none) == *symbol;
}

static __attribute__((unused)) void window_symbol_mix(real *to, const int32_t *x, long rows,
                                                      const int32_t *s, long none, const real *a) {
    memset(to, 0, none * sizeof(real));
    for (long i = 0; i < rows; i++) {
        long symbol = window_symbol(x, s, i, none);
        if (symbol >= 0) to[symbol] += a[i];
    }
}

static __attribute__((unused)) void window_log_mix(real *to, const int32_t *x, long rows,
                                                   const int32_t *s, long none, const real *l,
                                                   const real *m) {
    for (long j = 0; j < none; j++) to[j] = -(real)INFINITY;
    for (long i = 0; i < rows; i++) {
        long symbol = window_symbol(x, s, i, none);
        if (symbol < 0 || m[i] == 0) continue;
        real a = to[symbol], b = l[i];
        if (a == -(real)INFINITY) to[symbol] = b;
        else if (b != -(real)INFINITY)
            to[symbol] = (a > b ? a : b) + LIBM(log1p)(LIBM(exp)(-LIBM(fabs)(a - b)));
    }
}

static __attribute__((unused)) void window_shares(real *to, const int32_t *x, long rows,
                                                  const int32_t *s, long none, const real *l,
                                                  const real *y, const real *m) {
    for (long i = 0; i < rows; i++) {
        long symbol = window_symbol(x, s, i, none);
        to[i] = symbol < 0 || m[i] == 0 ? 0 : LIBM(exp)(l[i] - y[symbol]);
    }
}
