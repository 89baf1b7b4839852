// The job runner: one call from Python runs copies, kernel groups and sums over all rows. It reads
// tables of 64-bit integers, so that a call like an earlier one costs no more than its pointers.

// Copy n0 x n1 rows of `width` bytes to rows `step` bytes apart, zero behind. A copy is 8 numbers:
// target, source, n0 and its stride, n1 and its stride, width, step.
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

// Partial sums of 64 rows keep the error of long sums small. Threads split the columns.
static void row_sum_job(real *to, const real *rows, long stride, long n, long K,
                        long thread_count) {
    const long vectors = (n + LANES - 1) / LANES;
#ifdef _OPENMP
#pragma omp parallel num_threads(thread_count) if (thread_count > 1)
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
                const long valid = n - u < LANES ? n - u : LANES;
                for (long l = 0; l < valid; l++) to[u + l] += sum[l];
            }
        }
    }
}

#define MAX_OPERANDS 16

// j: offset of the workspace, threads, numbers of it for a thread, operands on either side, for each
// its slot, stride, width and row index, then the slots of the results.
static void weight_grad_job(void *const *slots, const int32_t *const *index, const int64_t *j,
                            real *work, long K) {
    Operand operand[2 * MAX_OPERANDS];
    real *C[MAX_OPERANDS * MAX_OPERANDS];
    const long na = j[5], nb = j[6];
    const int64_t *z = j + 7;
    for (long i = 0; i < na + nb; i++, z += 4)
        operand[i] = (Operand){slots[z[0]], z[1], z[2], z[3] < 0 ? NULL : index[z[3]]};
    for (long i = 0; i < na * nb; i++) C[i] = slots[z[i]];
    weight_grad_gemms(operand, na, operand + na, nb, C, K, work, j[4], j[3]);
}

// Under the address sanitizer memory between two regions may not be touched.
#ifdef __SANITIZE_ADDRESS__
void __asan_poison_memory_region(const volatile void *, size_t);
void __asan_unpoison_memory_region(const volatile void *, size_t);
#define ASAN_POISON(p, n) __asan_poison_memory_region(p, n)
#define ASAN_UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define ASAN_POISON(p, n)
#define ASAN_UNPOISON(p, n)
#endif

// j: slots of the result, of rows and of symbols; the rows' stride and width, row indices of both,
// the number of symbols, true if they are rows of the result, threads. Threads split the columns of
// the rows, so that every entry is summed in one order.
static void indexed_sum_job(void *const *slots, const int32_t *const *index, const int64_t *j,
                            long K) {
    real *const to = slots[j[2]];
    const real *const rows = slots[j[3]];
    const int32_t *const symbols = slots[j[4]];
    const long stride = j[5], n = j[6], count = j[9], thread_count = j[11];
    const int32_t *const of_row = j[7] < 0 ? NULL : index[j[7]];
    const int32_t *const of_symbol = j[8] < 0 ? NULL : index[j[8]];
#ifdef _OPENMP
#pragma omp parallel num_threads(thread_count) if (thread_count > 1)
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

enum { KERNEL_GROUP_JOB = 1, WEIGHT_GRAD_JOB, ROW_SUM_JOB, ZERO_FILL_JOB, INDEXED_SUM_JOB };

// call: addresses of the residual and the scratch block, their sizes, the offset of the workspace in
// the second, the table of regions and its length, row indices, batch indices, step offsets, T, B and
// the number of rows. A region: its value, its block, and the byte offsets of its first step, its
// start and its end. A job begins with its kind and its length.
void run_jobs(void **slots, const int64_t *call, const int64_t *jobs, int64_t length,
              const int64_t *copies, int64_t copy_count) {
    char *const block[2] = {(char *)call[0], (char *)call[1]};
    const int64_t *regions = (const int64_t *)call[5];
    ASAN_POISON(block[0], call[2]);
    ASAN_POISON(block[1], call[4]);
    for (const int64_t *p = regions; p < regions + 5 * call[6]; p += 5) {
        slots[p[0]] = block[p[1]] + p[2];
        ASAN_UNPOISON(block[p[1]] + p[3], p[4] - p[3]);
    }
    const int32_t *const *index = (const int32_t *const *)call[7];
    copy_rows(copies, copy_count);
    for (const int64_t *j = jobs; j < jobs + length; j += j[1]) {
        switch (j[0]) {
        case KERNEL_GROUP_JOB: {
            const Frame f = {slots, index, (const int32_t *)call[8], (const int64_t *)call[9],
                             call[10], call[11], call[12], j[4],
                             j[5] < 0 ? NULL : (real *)(block[1] + j[5]), j[6], j[7], j[8]};
            ((void (*)(const Frame *, long))j[2])(&f, j[3]);
            break;
        }
        case WEIGHT_GRAD_JOB:
            weight_grad_job(slots, index, j, (real *)(block[1] + j[2]), call[12]);
            break;
        case ROW_SUM_JOB:
            row_sum_job(slots[j[2]], slots[j[3]], j[4], j[5], call[12], j[6]);
            break;
        case ZERO_FILL_JOB:
            memset((char *)slots[j[2]] + j[3], 0, j[4]);
            break;
        case INDEXED_SUM_JOB:
            indexed_sum_job(slots, index, j, call[12]);
        }
    }
    ASAN_UNPOISON(block[0], call[2]);
    ASAN_UNPOISON(block[1], call[4]);
}

// Resolve copies between addresses of the form (base, byte offset) for `copy_rows`.
static void resolve_copies(int64_t *copies, const int64_t *places, int64_t count,
                           const int64_t *base) {
    for (int64_t i = 0; i < count; i++, copies += 8, places += 10) {
        copies[0] = base[places[0]] + places[1];
        copies[1] = base[places[2]] + places[3];
        memcpy(copies + 2, places + 4, 6 * sizeof(int64_t));
    }
}

// Replay a call with new addresses. base: the two blocks of memory, then tensors. plan: the jobs and
// their length; the numbers of slots, pointers, copies before the jobs and copies behind them; the
// call from its third number on; then the pointers (a slot and its base) and the copies.
void run_replay(const int64_t *base, const int64_t *plan) {
    const int64_t *pointers = plan + 17, *copies = pointers + 2 * plan[3];
    const int64_t input_count = plan[4], result_count = plan[5];
    void *slots[plan[2] + 1];
    const int64_t copy_count = input_count > result_count ? input_count : result_count;
    int64_t call[13] = {base[0], base[1]}, resolved[8 * copy_count + 1];
    memset(slots, 0, sizeof(slots));
    memcpy(call + 2, plan + 6, 11 * sizeof(int64_t));
    for (int64_t i = 0; i < plan[3]; i++, pointers += 2)
        slots[pointers[0]] = (void *)base[pointers[1]];
    resolve_copies(resolved, copies, input_count, base);
    run_jobs(slots, call, (const int64_t *)plan[0], plan[1], resolved, input_count);
    resolve_copies(resolved, copies + 10 * input_count, result_count, base);
    copy_rows(resolved, result_count);
}
