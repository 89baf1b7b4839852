// What needs whole vectors of one row, and what shifts entries.

// Four sums, four greatest at a time, so that none waits for the one before.
static __attribute__((unused)) void group_sum(real *to, const real *z, long n, long k) {
    for (long g = 0; g < n; g += k) {
        vec s[4] = {splat(0), splat(0), splat(0), splat(0)};
        long j = 0;
        for (; j + 4 * LANES <= k; j += 4 * LANES)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) s[i] += LOAD(z + g + j + i * LANES);
        for (; j + LANES <= k; j += LANES) s[0] += LOAD(z + g + j);
        const vec sums = (s[0] + s[1]) + (s[2] + s[3]);
        real sum = 0;
        for (long l = 0; l < LANES; l++) sum += sums[l];
        for (; j < k; j++) sum += z[g + j];
        to[g / k] = sum;
    }
}

// A NaN is greater than all, and stays.
INLINE vec greater_of(vec z, vec most) { return choose((z > most) | (z != z), z, most); }

static __attribute__((unused)) void group_max(real *to, const real *z, long n, long k) {
    for (long g = 0; g < n; g += k) {
        real most = z[g];
        long j = 0;
        if (k >= 4 * LANES) {
            vec m[4];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) m[i] = splat(most);
            for (; j + 4 * LANES <= k; j += 4 * LANES)
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++) m[i] = greater_of(LOAD(z + g + j + i * LANES), m[i]);
            const vec found = greater_of(greater_of(m[0], m[1]), greater_of(m[2], m[3]));
            for (long l = 0; l < LANES; l++)
                if (found[l] > most || found[l] != found[l]) most = found[l];
        }
        for (; j < k; j++)
            if (z[g + j] > most || z[g + j] != z[g + j]) most = z[g + j];
        to[g / k] = most;
    }
}

static __attribute__((unused)) void spread(real *to, const real *z, long n, long k) {
    for (long g = 0; g < n; g++, to += k) {
        long j = 0;
        for (; j + LANES <= k; j += LANES) STORE(to + j, splat(z[g]));
        for (; j < k; j++) to[j] = z[g];
    }
}

// Entries at .. at + LANES of n ones, zero outside of them.
INLINE vec window(const real *z, long at, long n) {
    if (at >= 0 && at + LANES <= n) return LOAD(z + at);
    vec result = splat(0);
    for (long l = 0; l < LANES; l++)
        if (at + l >= 0 && at + l < n) result[l] = z[at + l];
    return result;
}
