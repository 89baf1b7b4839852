// What a call of a unit is given.
typedef struct {
    void *const *at;              // of each value its first row (of the first step)
    const int32_t *const *index;  // for each delay the row that each row reads
    const int32_t *row_of;        // the place in the batch of each row
    const int64_t *offset;        // the first row of each step, and the end
    int64_t steps, rows, total;   // T, B, and how many rows all steps have
    int64_t threads;
    real *panels;                 // room for packed matrices
    int64_t first, last, done;    // of a unit for all steps: its stages, and whether of the first one
                                  // the products lie where a value of it will
} Frame;

// Where the threads of a unit wait for each other. OpenMP's own barrier spins for milliseconds where it
// thinks that every thread has a core; here a thread that waits soon lets others have its core.
typedef struct {
    long arrived, turn;
} Gate;

#define SPINS 2000

static __attribute__((unused)) void meet(Gate *gate, long threads) {
    const long turn = __atomic_load_n(&gate->turn, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&gate->arrived, 1, __ATOMIC_ACQ_REL) == threads) {
        __atomic_store_n(&gate->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&gate->turn, turn + 1, __ATOMIC_RELEASE);
        return;
    }
    for (long i = 0; __atomic_load_n(&gate->turn, __ATOMIC_ACQUIRE) == turn; i++) {
        if (i >= SPINS) sched_yield();
#if defined(__x86_64__) || defined(__i386__)
        else __builtin_ia32_pause();
#endif
    }
}

#ifdef _OPENMP
#define PARALLEL _Pragma("omp parallel num_threads(f->threads)")
#define BARRIER meet(&gate, threads);
#define THREAD omp_get_thread_num()
#define THREADS omp_get_num_threads()
#else
#define PARALLEL
#define BARRIER
#define THREAD 0
#define THREADS 1
#endif

// How the threads share a loop: `across` groups of rows, each of `along` groups of columns.
typedef struct {
    long first, last;  // places in the batch
    long along, column;
} Share;

static __attribute__((unused)) long steps_of(const Frame *f, long b) {
    long low = 0, high = f->steps;
    while (low < high) {
        long middle = (low + high) / 2;
        if (f->offset[middle + 1] - f->offset[middle] > b) low = middle + 1;
        else high = middle;
    }
    return low;
}

// The row before which `part` of `parts` of all work lies; longer rows come first.
static __attribute__((unused)) long boundary(const Frame *f, long part, long parts) {
    int64_t before = 0;
    long b = 0;
    for (; b < f->rows && before * parts < f->total * part; b++) before += steps_of(f, b);
    return part == parts ? f->rows : b;
}

static __attribute__((unused)) Share share_of(const Frame *f, long along, long thread,
                                              long threads) {
    long across = threads / along, group = thread / along;
    Share s = {boundary(f, group, across), boundary(f, group + 1, across), along, thread % along};
    return s;
}
