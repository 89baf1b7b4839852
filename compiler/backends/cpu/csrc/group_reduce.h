// Reductions over groups of a row's entries, their inverse, and loads of shifted entries.

// Four partial results at a time, so that no operation waits for the one before.
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

// The greater one; a NaN counts as greatest.
INLINE vec max_or_nan(vec z, vec most) { return blend((z > most) | (z != z), z, most); }

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
                for (int i = 0; i < 4; i++) m[i] = max_or_nan(LOAD(z + g + j + i * LANES), m[i]);
            const vec found = max_or_nan(max_or_nan(m[0], m[1]), max_or_nan(m[2], m[3]));
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

// Entries first .. first + LANES of n; zero outside of them.
INLINE vec load_padded(const real *z, long first, long n) {
    if (first >= 0 && first + LANES <= n) return LOAD(z + first);
    vec result = splat(0);
    for (long l = 0; l < LANES; l++)
        if (first + l >= 0 && first + l < n) result[l] = z[first + l];
    return result;
}
