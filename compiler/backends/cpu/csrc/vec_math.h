// Elementary functions on vectors, to a few units in the last place over the whole range: infinities,
// NaN, signed zeros and denormals as libm has them.

#if IS_DOUBLE
#define MAGIC 6755399441055744.0 /* 1.5 * 2^52: adding it rounds to an integer, kept in the low bits */
#define MANTISSA 52
#define BIAS 1023
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define EXP_MAX 710.0
#define EXP_MIN (-746.0)
#define TANH_SATURATION 20.0
#define SQRT_HALF_BITS 0x3fe6a09e667f3bcdLL
#define MIN_NORMAL 2.2250738585072014e-308
#define UPSCALE 18014398509481984.0 /* 2^54 */
#define UPSCALE_LOG2 54
#define C_(x) x
#define LIBM(name) name
#else
#define MAGIC 12582912.0f /* 1.5 * 2^23 */
#define MANTISSA 23
#define BIAS 127
#define LN2_HIGH 0.693359375f
#define LN2_LOW (-2.12194440e-4f)
#define EXP_MAX 89.0f
#define EXP_MIN (-104.0f)
#define TANH_SATURATION 10.0f
#define SQRT_HALF_BITS 0x3f3504f3
#define MIN_NORMAL 1.17549435e-38f
#define UPSCALE 33554432.0f /* 2^25 */
#define UPSCALE_LOG2 25
#define C_(x) x##f
#define LIBM(name) name##f
#endif

#define ABS_MASK ((ivec)splat(-(real)0) ^ splat_int(-1))

INLINE vec v_abs(vec x) { return (vec)((ivec)x & ABS_MASK); }
INLINE vec v_with_sign(vec x, vec sign) { return (vec)((ivec)x | ((ivec)sign & ~ABS_MASK)); }
INLINE vec power_of_two(ivec n) { return (vec)((n + BIAS) << MANTISSA); }

// vec_min, vec_max: a NaN in the second operand stays. vec_ldexp: a 2^n for whole n, where the result
// may be denormal or infinite. vec_divide: a / d for 1 <= d < 2^60.
#if defined(__AVX512F__) && VECTOR_BYTES == 64
#if IS_DOUBLE
#define WITH_TYPE(name) name "pd"
#else
#define WITH_TYPE(name) name "ps"
#endif
#define BINARY_INSTRUCTION(name, instruction)                                           \
    INLINE vec name(vec a, vec b) {                                         \
        vec c;                                                              \
        __asm__(WITH_TYPE(instruction) " %2, %1, %0" : "=v"(c) : "v"(a), "v"(b)); \
        return c;                                                           \
    }
BINARY_INSTRUCTION(vec_min, "vmin")
BINARY_INSTRUCTION(vec_max, "vmax")
BINARY_INSTRUCTION(vec_ldexp, "vscalef")
INLINE vec vec_divide(vec a, vec d) {
    vec r;
    __asm__(WITH_TYPE("vrcp14") " %1, %0" : "=v"(r) : "v"(d));
#if IS_DOUBLE
    r += r * (1 - d * r); // Newton: from 14 to 28 right bits
#endif
    vec q = a * r;
    return q + r * (a - d * q); // and of the quotient to twice as many
}
#else
INLINE vec vec_min(vec a, vec b) { return blend(a < b, a, b); }
INLINE vec vec_max(vec a, vec b) { return blend(a > b, a, b); }
INLINE vec vec_ldexp(vec a, vec n) {
    // In two factors: 2^n itself overflows or is denormal where the result need not be.
    ivec whole = (ivec)(n + MAGIC) - (ivec)splat(MAGIC), half = whole >> 1;
    return a * power_of_two(half) * power_of_two(whole - half);
}
INLINE vec vec_divide(vec a, vec d) { return a / d; }
#endif

// x = n log 2 + r, |r| <= log(2) / 2; (e^r - 1 - r) / r^2 by its Taylor series.
INLINE vec exp_reduce(vec x, vec *n, vec *r) {
    vec whole = x * C_(1.44269504088896340736) + MAGIC - MAGIC;
    *n = whole;
    vec z = x - whole * LN2_HIGH;
    z = z - whole * LN2_LOW;
    *r = z;
#if IS_DOUBLE
    vec p = splat(1.0 / 87178291200.0);
    p = p * z + 1.0 / 6227020800.0;
    p = p * z + 1.0 / 479001600.0;
    p = p * z + 1.0 / 39916800.0;
    p = p * z + 1.0 / 3628800.0;
    p = p * z + 1.0 / 362880.0;
    p = p * z + 1.0 / 40320.0;
    p = p * z + 1.0 / 5040.0;
    p = p * z + 1.0 / 720.0;
    p = p * z + 1.0 / 120.0;
    p = p * z + 1.0 / 24.0;
    p = p * z + 1.0 / 6.0;
#else
    // z^5 / 5040 as the nearest lower powers, after Chebyshev: off by 6e-8 at most.
    vec p = splat(1.0f / 720.0f);
    p = p * z + 0.00836312330f;
    p = p * z + 1.0f / 24.0f;
    p = p * z + 0.16666577212f;
#endif
    return p * z + C_(0.5);
}

// e^x for x <= EXP_MAX.
INLINE vec exp_bounded(vec x) {
    vec n, r, q = exp_reduce(vec_max(splat(EXP_MIN), x), &n, &r);
    return vec_ldexp((q * r + 1) * r + 1, n);
}

INLINE vec v_exp(vec x) { return exp_bounded(vec_min(splat(EXP_MAX), x)); }

// e^x - 1 without cancellation; x in [-700, 700] (-87, 87), NaN allowed.
INLINE vec expm1_bounded(vec x) {
    vec n, r, q = exp_reduce(x, &n, &r);
#if defined(__AVX512F__) && VECTOR_BYTES == 64
    vec scale = vec_ldexp(splat(1), n);
#else
    vec scale = power_of_two((ivec)(n + MAGIC) - (ivec)splat(MAGIC));
#endif
    return scale * (q * r * r + r) + (scale - 1);
}

INLINE vec v_expm1_negative(vec x) {
    return expm1_bounded(vec_max(splat(-TANH_SATURATION * 4), x));
}

INLINE vec v_tanh(vec x) {
    vec a = vec_min(splat(TANH_SATURATION), v_abs(x));
    vec e = expm1_bounded(a + a);
    return v_with_sign(vec_divide(e, e + 2), x);
}

// From e^-|x|, so that nothing overflows.
INLINE vec v_sigmoid(vec x) {
    vec e = exp_bounded(-v_abs(x));
    return vec_divide(blend(x < 0, e, splat(1)), 1 + e);
}

// x = 2^n m, sqrt(1/2) <= m < sqrt(2); log m by the series of fdlibm's e_log.c.
INLINE vec v_log(vec x) {
    ivec tiny = (x < MIN_NORMAL);
    vec y = blend(tiny, x * UPSCALE, x);
    ivec n = ((ivec)y - SQRT_HALF_BITS) >> MANTISSA;
    vec m = (vec)((ivec)y - (n << MANTISSA));
    n = n - (tiny & UPSCALE_LOG2);
    vec whole = __builtin_convertvector(n, vec);
    vec f = m - 1, s = f / (2 + f), z = s * s, half = C_(0.5) * f * f;
    vec p = splat(C_(1.479819860511658591e-01));
    p = p * z + C_(1.531383769920937332e-01);
    p = p * z + C_(1.818357216161805012e-01);
    p = p * z + C_(2.222219843214978396e-01);
    p = p * z + C_(2.857142874366239149e-01);
    p = p * z + C_(3.999999999940941908e-01);
    p = p * z + C_(6.666666666666735130e-01);
    vec result = whole * LN2_HIGH - ((half - (s * (half + p * z) + whole * LN2_LOW)) - f);
    result = blend(x == 0, splat(-INFINITY), result);
    result = blend(x == INFINITY, x, result);
    return blend((x < 0) | (x != x), splat(NAN), result);
}

INLINE vec v_log1p_of_unit(vec u) { // 0 <= u <= 1
    vec w = 1 + u;
    return v_log(w) - ((w - 1) - u) / w;
}

#define PER_LANE(name, expression)                  \
    static __attribute__((noinline, unused)) vec name(vec x) { \
        for (int l = 0; l < LANES; l++) {          \
            real z = x[l];                         \
            x[l] = (expression);                   \
        }                                          \
        return x;                                  \
    }
PER_LANE(v_sqrt, LIBM(sqrt)(z))
PER_LANE(v_sin, LIBM(sin)(z))
PER_LANE(v_cos, LIBM(cos)(z))
PER_LANE(v_normal, C_(0.5) * LIBM(erfc)(z * C_(-0.70710678118654752440)))

static __attribute__((noinline, unused)) vec v_power(vec a, vec b) {
    for (int l = 0; l < LANES; l++) a[l] = LIBM(pow)(a[l], b[l]);
    return a;
}

INLINE vec v_relu(vec x) { return blend(x < 0, splat(0), x); }
INLINE vec v_leaky_relu(vec x) { return blend(x > 0, x, x * C_(0.01)); }
INLINE vec v_elu(vec x) { return blend(x > 0, x, v_expm1_negative(x)); }
INLINE vec v_gelu(vec x) { return x * v_normal(x); }
INLINE vec v_gelu_slope(vec x) {
    return v_normal(x) + x * (C_(0.39894228040143267794) * v_exp(x * x * C_(-0.5)));
}
INLINE vec v_silu(vec x) { return x / (1 + v_exp(-x)); }
INLINE vec v_softplus(vec x) {
    vec low = v_relu(x) + v_log1p_of_unit(v_exp(-v_abs(x)));
    return blend(x > 20, x, low);
}
INLINE vec v_logaddexp(vec a, vec b) {
    vec apart = blend(a == b, splat(0), v_abs(a - b)); // both may be infinite
    return blend(a > b, a, b) + v_log1p_of_unit(v_exp(-apart));
}
INLINE vec v_softplus_slope(vec x) { return blend(x > 20, splat(1), v_sigmoid(x)); }
INLINE vec v_softsign(vec x) { return x / (1 + v_abs(x)); }
INLINE vec v_positive(vec x) { return blend(x > 0, splat(1), splat(0)); }
INLINE vec v_sign(vec x) { return blend(x > 0, splat(1), blend(x < 0, splat(-1), x * 0)); }
INLINE vec v_at_least_tiny(vec x) { return blend(x < MIN_NORMAL, splat(MIN_NORMAL), x); }
INLINE vec v_equal(vec a, vec b) { return blend(a == b, splat(1), splat(0)); }
INLINE vec v_select(vec c, vec a, vec b) { return blend(c != 0, a, b); }
INLINE vec v_x_log_y(vec a, vec b) { return blend(a == 0, splat(0), a * v_log(b)); }
