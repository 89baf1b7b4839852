// Vectors of REAL, as GCC and Clang know them on any processor. The text in front of this one defines
// REAL, INTEGER (of the same width), IS_DOUBLE and VECTOR_BYTES.
#include <math.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

typedef REAL real;
typedef INTEGER integer;
typedef real vec __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef integer ivec __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#define INLINE static inline __attribute__((always_inline, unused))
#define LANES ((long)(VECTOR_BYTES / sizeof(real)))
#define LOAD(p) (*(const vec *)(p))
#define STORE(p, v) (*(vec *)(p) = (v))

INLINE vec splat(real a) { return a - (vec){0}; }
INLINE ivec splat_int(integer a) { return a - (ivec){0}; }
INLINE vec blend(ivec where, vec a, vec b) {
    return (vec)((where & (ivec)a) | (~where & (ivec)b));
}

// For both rows of a pair.
#define PAIR _Pragma("GCC unroll 2") for (int q = 0; q < 2; q++)

// Prefetch some vectors from p on.
INLINE void prefetch(const real *p, long vectors) {
    for (long b = 0; b < vectors * VECTOR_BYTES; b += 64) __builtin_prefetch((const char *)p + b);
}
