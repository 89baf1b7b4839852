// One call from Python runs many jobs: copies, units, sums over all rows. Tables of 64-bit integers tell
// it everything, so that a call that is like an earlier one costs no more than its pointers.

// Rows of `width` bytes to rows that are `step` bytes apart, zero behind; from n0 x n1 places.
void copy_rows(const int64_t *table, int64_t count) {
    for (const int64_t *c = table; c < table + 8 * count; c += 8) {
        char *to = (char *)c[0];
        const int64_t n0 = c[2], n1 = c[4], width = c[6], step = c[7];
        for (int64_t i = 0; i < n0; i++) {
            const char *from = (const char *)c[1] + i * c[3];
            if (width == step && c[5] == width) {
                memcpy(to, from, n1 * width);
                to += n1 * width;
                continue;
            }
            for (int64_t j = 0; j < n1; j++, to += step, from += c[5]) {
                memcpy(to, from, width);
                memset(to + width, 0, step - width);
            }
        }
    }
}

// Partial sums of 64 rows keep the error of long sums small. Each thread has some columns.
static void total_of(real *to, const real *rows, long stride, long n, long K, long threads_wanted) {
    const long vectors = (n + LANES - 1) / LANES;
#ifdef _OPENMP
#pragma omp parallel num_threads(threads_wanted) if (threads_wanted > 1)
#endif
    {
        const long u0 = vectors * THREAD / THREADS * LANES;
        const long end = vectors * (THREAD + 1) / THREADS * LANES, u1 = end < n ? end : n;
        for (long u = u0; u < u1; u++) to[u] = 0;
        for (long k0 = 0; k0 < K; k0 += 64) {
            const long k1 = k0 + 64 < K ? k0 + 64 : K;
            for (long u = u0; u < u1; u += LANES) {
                vec sum = splat(0);
                for (long k = k0; k < k1; k++) sum += LOAD(rows + k * stride + u);
                const long there = n - u < LANES ? n - u : LANES;
                for (long l = 0; l < there; l++) to[u + l] += sum[l];
            }
        }
    }
}

#define MOST_OPERANDS 16

// j: the place for work, threads, how much of it a thread has, how many operands on either side, for
// each its slot, stride, width and table of rows, then the slots of the results.
static void outer_job(void *const *at, const int32_t *const *index, const int64_t *j, real *work,
                      long K) {
    Operand operand[2 * MOST_OPERANDS];
    real *C[MOST_OPERANDS * MOST_OPERANDS];
    const long na = j[5], nb = j[6];
    const int64_t *z = j + 7;
    for (long i = 0; i < na + nb; i++, z += 4)
        operand[i] = (Operand){at[z[0]], z[1], z[2], z[3] < 0 ? NULL : index[z[3]]};
    for (long i = 0; i < na * nb; i++) C[i] = at[z[i]];
    outer_sums(operand, na, operand + na, nb, C, K, work, j[4], j[3]);
}

// Under the address sanitizer nothing between two places may be touched.
#ifdef __SANITIZE_ADDRESS__
void __asan_poison_memory_region(const volatile void *, size_t);
void __asan_unpoison_memory_region(const volatile void *, size_t);
#define GUARD(p, n) __asan_poison_memory_region(p, n)
#define OPEN(p, n) __asan_unpoison_memory_region(p, n)
#else
#define GUARD(p, n)
#define OPEN(p, n)
#endif

// j: slots of the result, of rows and of symbols; the rows' stride and width, tables of rows for both,
// how many symbols there are, whether they are rows of the result, threads. Each thread has some
// columns of the rows, so that every entry is summed in one order.
static void indexed_job(void *const *at, const int32_t *const *index, const int64_t *j, long K) {
    real *const to = at[j[2]];
    const real *const rows = at[j[3]];
    const int32_t *const symbols = at[j[4]];
    const long stride = j[5], n = j[6], count = j[9], threads_wanted = j[11];
    const int32_t *const of_row = j[7] < 0 ? NULL : index[j[7]];
    const int32_t *const of_symbol = j[8] < 0 ? NULL : index[j[8]];
#ifdef _OPENMP
#pragma omp parallel num_threads(threads_wanted) if (threads_wanted > 1)
#endif
    {
        const long u0 = n * THREAD / THREADS, u1 = n * (THREAD + 1) / THREADS;
        if (!j[10]) memset(to + u0 * count, 0, (u1 - u0) * count * sizeof(real));
        else
            for (long s = 0; s < count; s++)
                memset(to + s * n + u0, 0, (u1 - u0) * sizeof(real));
        for (long k = 0; k < K; k++) {
            const long symbol = symbols[of_symbol ? of_symbol[k] : k];
            if (symbol < 0 || symbol >= count) continue;
            const real *const row = rows + (of_row ? (long)of_row[k] : k) * stride;
            if (j[10]) for (long u = u0; u < u1; u++) to[symbol * n + u] += row[u];
            else for (long u = u0; u < u1; u++) to[u * count + symbol] += row[u];
        }
    }
}

enum { UNIT = 1, OUTER, TOTAL, ZERO, INDEXED };

// call: two blocks of memory and their sizes, from where on the second is for work, the table of places
// and its length, tables of rows, row_of, offset, T, B and the number of rows. A place: its value, its
// block, and of that the bytes where its first step, it and what is behind it begin. A job begins with
// its kind and its length.
void run_jobs(void **at, const int64_t *call, const int64_t *jobs, int64_t length,
              const int64_t *copies, int64_t copied) {
    char *const block[2] = {(char *)call[0], (char *)call[1]};
    const int64_t *places = (const int64_t *)call[5];
    GUARD(block[0], call[2]);
    GUARD(block[1], call[4]);
    for (const int64_t *p = places; p < places + 5 * call[6]; p += 5) {
        at[p[0]] = block[p[1]] + p[2];
        OPEN(block[p[1]] + p[3], p[4] - p[3]);
    }
    const int32_t *const *index = (const int32_t *const *)call[7];
    copy_rows(copies, copied);
    for (const int64_t *j = jobs; j < jobs + length; j += j[1]) {
        switch (j[0]) {
        case UNIT: {
            const Frame f = {at, index, (const int32_t *)call[8], (const int64_t *)call[9],
                             call[10], call[11], call[12], j[4],
                             j[5] < 0 ? NULL : (real *)(block[1] + j[5]), j[6], j[7], j[8]};
            ((void (*)(const Frame *, long))j[2])(&f, j[3]);
            break;
        }
        case OUTER:
            outer_job(at, index, j, (real *)(block[1] + j[2]), call[12]);
            break;
        case TOTAL:
            total_of(at[j[2]], at[j[3]], j[4], j[5], call[12], j[6]);
            break;
        case ZERO:
            memset((char *)at[j[2]] + j[3], 0, j[4]);
            break;
        case INDEXED:
            indexed_job(at, index, j, call[12]);
        }
    }
    OPEN(block[0], call[2]);
    OPEN(block[1], call[4]);
}

// From places, which are a base and how many bytes behind it, to what `copy_rows` takes.
static void resolve(int64_t *copies, const int64_t *places, int64_t count, const int64_t *base) {
    for (int64_t i = 0; i < count; i++, copies += 8, places += 10) {
        copies[0] = base[places[0]] + places[1];
        copies[1] = base[places[2]] + places[3];
        memcpy(copies + 2, places + 4, 6 * sizeof(int64_t));
    }
}

// A call that differs from an earlier one in addresses alone. base: the two blocks of memory, then
// tensors. tape: the jobs and their length, how many values, points, copies before the jobs and copies
// behind them there are, and the call from its third number on; then the points (a value and its
// tensor) and the copies.
void run_again(const int64_t *base, const int64_t *tape) {
    const int64_t *points = tape + 17, *copies = points + 2 * tape[3];
    const int64_t before = tape[4], behind = tape[5];
    void *at[tape[2] + 1];
    int64_t call[13] = {base[0], base[1]}, found[8 * (before > behind ? before : behind) + 1];
    memset(at, 0, sizeof(at));
    memcpy(call + 2, tape + 6, 11 * sizeof(int64_t));
    for (int64_t i = 0; i < tape[3]; i++, points += 2) at[points[0]] = (void *)base[points[1]];
    resolve(found, copies, before, base);
    run_jobs(at, call, (const int64_t *)tape[0], tape[1], found, before);
    resolve(found, copies + 10 * before, behind, base);
    copy_rows(found, behind);
}
