// Vectors of REAL, as GCC and Clang know them on any processor. The text in front of this one defines
// REAL, INTEGER (as wide), IS_DOUBLE and VECTOR_BYTES.
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
INLINE ivec isplat(integer a) { return a - (ivec){0}; }
INLINE vec choose(ivec where, vec a, vec b) {
    return (vec)((where & (ivec)a) | (~where & (ivec)b));
}

// Once for each of two rows.
#define PAIR _Pragma("GCC unroll 2") for (int q = 0; q < 2; q++)

// Some vectors will soon be read or written.
INLINE void ahead(const real *p, long vectors) {
    for (long b = 0; b < vectors * VECTOR_BYTES; b += 64) __builtin_prefetch((const char *)p + b);
}
