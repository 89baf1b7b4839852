// What needs whole vectors of one row, and what shifts entries.

static __attribute__((unused)) void group_sum(real *to, const real *z, long n, long k) {
    for (long g = 0; g < n; g += k) {
        vec sums = splat(0);
        long j = 0;
        for (; j + LANES <= k; j += LANES) sums += LOAD(z + g + j);
        real sum = 0;
        for (long l = 0; l < LANES; l++) sum += sums[l];
        for (; j < k; j++) sum += z[g + j];
        to[g / k] = sum;
    }
}

static __attribute__((unused)) void group_max(real *to, const real *z, long n, long k) {
    for (long g = 0; g < n; g += k) {
        real most = z[g];
        for (long j = 1; j < k; j++)
            if (z[g + j] > most || z[g + j] != z[g + j]) most = z[g + j];
        to[g / k] = most;
    }
}

static __attribute__((unused)) void spread(real *to, const real *z, long n, long k) {
    for (long j = 0; j < n * k; j++) to[j] = z[j / k];
}

// Entries at .. at + LANES of n ones, zero outside of them.
INLINE vec window(const real *z, long at, long n) {
    if (at >= 0 && at + LANES <= n) return LOAD(z + at);
    vec result = splat(0);
    for (long l = 0; l < LANES; l++)
        if (at + l >= 0 && at + l < n) result[l] = z[at + l];
    return result;
}
