// The arguments of a kernel group's function.
typedef struct {
    void *const *slots;               // by value: its first row of the first step; then tables
    const int32_t *const *row_index;  // by row index: the row that each row reads
    const int32_t *batch_index;       // the sequence of each row
    const int64_t *step_offset;       // the first row of each step, and the end
    int64_t steps, batch_size, row_count;
    int64_t threads;
    real *panels;  // room for packed matrices; NULL to read matrices in place
    // Of a batched group: the kernels to run, and whether buffers hold the sums of the first one.
    int64_t first_kernel, end_kernel, gemm_done;
} Frame;

// A barrier for the threads of a kernel group. That of OpenMP spins for milliseconds where it takes
// each thread to have a core of its own; here waiting threads soon yield theirs.
typedef struct {
    long arrived, generation;
} SpinBarrier;

#define SPIN_LIMIT 2000

static __attribute__((unused)) void wait_at_barrier(SpinBarrier *barrier, long threads) {
    const long generation = __atomic_load_n(&barrier->generation, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == threads) {
        __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&barrier->generation, generation + 1, __ATOMIC_RELEASE);
        return;
    }
    for (long i = 0; __atomic_load_n(&barrier->generation, __ATOMIC_ACQUIRE) == generation; i++) {
        if (i >= SPIN_LIMIT) sched_yield();
#if defined(__x86_64__) || defined(__i386__)
        else __builtin_ia32_pause();
#endif
    }
}

#ifdef _OPENMP
#define PARALLEL _Pragma("omp parallel num_threads(f->threads)")
#define BARRIER wait_at_barrier(&barrier, threads);
#define THREAD omp_get_thread_num()
#define THREADS omp_get_num_threads()
#else
#define PARALLEL
#define BARRIER
#define THREAD 0
#define THREADS 1
#endif

// A thread's share of a loop: `teams` split the sequences, `column_threads` of a team the columns.
typedef struct {
    long first, end;  // sequences
    long column_threads, column_thread;
} ThreadShare;

static __attribute__((unused)) long sequence_length(const Frame *f, long b) {
    long low = 0, high = f->steps;
    while (low < high) {
        long middle = (low + high) / 2;
        if (f->step_offset[middle + 1] - f->step_offset[middle] > b) low = middle + 1;
        else high = middle;
    }
    return low;
}

// The sequence before which `part` of `parts` of all rows lie; longer sequences come first.
static __attribute__((unused)) long partition_boundary(const Frame *f, long part, long parts) {
    int64_t before = 0;
    long b = 0;
    for (; b < f->batch_size && before * parts < f->row_count * part; b++)
        before += sequence_length(f, b);
    return part == parts ? f->batch_size : b;
}

static __attribute__((unused)) ThreadShare thread_share(const Frame *f, long column_threads,
                                                        long thread, long threads) {
    long teams = threads / column_threads, group = thread / column_threads;
    const long first = partition_boundary(f, group, teams);
    const long end = partition_boundary(f, group + 1, teams);
    return (ThreadShare){first, end, column_threads, thread % column_threads};
}
