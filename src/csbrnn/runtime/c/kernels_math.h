/* exp, sigmoid, tanh and log on vectors, to about 2 units in the last place (sigmoid(-87): 4).
 *
 * Written with v_fma throughout, and v_max / v_min take the value in question second, so that NaN
 * comes out as NaN on every instruction set. Infinities saturate.
 */
#ifndef CSBRNN_KERNELS_MATH_H
#define CSBRNN_KERNELS_MATH_H

#if VL != 16
static inline vf v_load_part(const float *p, size_t n) {
    float part[VL] = {0};
    for (size_t i = 0; i < n; i++) part[i] = p[i];
    return v_load(part);
}
static inline void v_store_part(float *p, vf a, size_t n) {
    float part[VL];
    v_store(part, a);
    for (size_t i = 0; i < n; i++) p[i] = part[i];
}
#endif

/* e^x = 2^n (1 + t): returns t in about -0.3 .. 0.42, sets n. For |x| below 2^20.
 * ln 2 is subtracted in two parts, the first exact in 9 bits; the polynomial is Cephes' expf. */
static inline vf v_exp_parts(vf x, vf *n) {
    *n = v_round(v_mul(x, v_set1(1.44269504f)));
    vf r = v_fnma(*n, v_set1(0.693359375f), x);
    r = v_fnma(*n, v_set1(-2.12194440e-4f), r);
    vf q = v_fma(v_set1(1.9875691500e-4f), r, v_set1(1.3981999507e-3f));
    q = v_fma(q, r, v_set1(8.3334519073e-3f));
    q = v_fma(q, r, v_set1(4.1665795894e-2f));
    q = v_fma(q, r, v_set1(1.6666665459e-1f));
    q = v_fma(q, r, v_set1(5.0000001201e-1f));
    return v_fma(q, v_mul(r, r), r);
}

/* e^x for every x; underflows to 0, overflows to infinity. 2^n is applied in two factors, since
 * 2^-149 and 2^128 are beyond one normal number. */
static inline vf v_exp(vf x) {
    vf n, t = v_exp_parts(v_min(v_set1(89.0f), v_max(v_set1(-104.0f), x)), &n);
    vf half = v_round(v_mul(n, v_set1(0.5f)));
    vf s = v_exp2i(half);
    return v_mul(v_fma(s, t, s), v_exp2i(v_sub(n, half)));
}

/* Of sigmoid only its denominator 1 + e^-x is computed, of tanh the numerator m and the denominator
 * 2 - m, where m = 1 - e^-2x: what multiplies or adds them divides once, by a product. Cut at
 * |x| = 33 and 10, where both are as good as constant, two sigmoids and a tanh stay below 2^127. */
#define V_CUT 33.0f

/* NaN stays NaN: see above. */
static inline vf v_cut(vf x, float limit) {
    return v_min(v_set1(limit), v_max(v_set1(-limit), x));
}

#ifdef V_SIXTEENTHS
/* e^-x = 2^(n / 16) (1 - p), |x| < 88: returns p in -0.022 .. 0.022, sets `magic` to n + 1.5 * 2^23.
 * ln 2 / 16 in float32 is off by 3e-9 of itself only; the polynomial is fitted to 1e-7 of p. */
static inline vf v_exp_sixteenths(vf x, vf *magic) {
    const vf push = v_set1(12582912.0f);
    *magic = v_fnma(x, v_set1(0x1.715476p+4f), push);
    vf r = v_fma(v_sub(*magic, push), v_set1(0x1.62e430p-5f), x);
    return v_fnma(v_mul(r, r), v_fnma(v_set1(0x1.55561ap-3f), r, v_set1(0x1.0001ecp-1f)), r);
}

/* e^-x, with |x| cut at the limit. */
static inline vf v_exp_neg(vf x, float limit) {
    vf n, p = v_exp_sixteenths(v_cut(x, limit), &n);
    vf s = v_exp2_sixteenths(n);
    return v_fnma(s, p, s);
}

/* 1 - e^-2x, with full relative precision near 0, where n is 0. */
static inline vf v_tanh_numerator(vf x) {
    vf n, p = v_exp_sixteenths(v_cut(v_add(x, x), 20.0f), &n);
    vf s = v_exp2_sixteenths(n);
    return v_fma(s, v_sub(p, v_exp2_rounded_off(n)), v_sub(v_set1(1.0f), s));
}
#else
static inline vf v_quotient(vf a, vf b) { return v_div(a, b); }

/* e^-x, with |x| cut at the limit. */
static inline vf v_exp_neg(vf x, float limit) {
    vf n, t = v_exp_parts(v_neg(v_cut(x, limit)), &n);
    vf s = v_exp2i(n);
    return v_fma(s, t, s);
}

/* 1 - e^-2x, with full relative precision near 0, where n is 0. */
static inline vf v_tanh_numerator(vf x) {
    vf n, t = v_exp_parts(v_cut(v_mul(v_set1(-2.0f), x), 20.0f), &n);
    vf s = v_exp2i(n);
    return v_fnma(s, t, v_sub(v_set1(1.0f), s));
}
#endif

static inline vf v_tanh_denominator(vf numerator) { return v_sub(v_set1(2.0f), numerator); }

static inline vf v_sigmoid_denominator(vf x) { return v_add(v_set1(1.0f), v_exp_neg(x, V_CUT)); }

/* Cut where 2^n is still normal. */
static inline vf v_sigmoid(vf x) {
    return v_quotient(v_set1(1.0f), v_add(v_set1(1.0f), v_exp_neg(x, 87.0f)));
}

static inline vf v_tanh(vf x) {
    vf m = v_tanh_numerator(x);
    return v_quotient(m, v_tanh_denominator(m));
}

/* Natural logarithm (Cephes' logf); -inf at 0, NaN below. */
static inline vf v_log(vf x) {
    vf zero = v_set1(0.0f), one = v_set1(1.0f), tiny = v_set1(1.17549435e-38f);
    vf y = v_where_less(x, tiny, v_mul(x, v_set1(16777216.0f)), x); /* denormals by 2^24 */
    vf e = v_sub(v_exponent(y), v_where_less(x, tiny, v_set1(150.0f), v_set1(126.0f)));
    vf m = v_bits_and_or(y, 0x007fffff, 0x3f000000); /* 0.5 <= m < 1 */
    vf small = v_set1(0.707106781f);
    e = v_where_less(m, small, v_sub(e, one), e);
    m = v_sub(v_where_less(m, small, v_add(m, m), m), one);
    vf z = v_mul(m, m);
    vf p = v_fma(v_set1(7.0376836292e-2f), m, v_set1(-1.1514610310e-1f));
    p = v_fma(p, m, v_set1(1.1676998740e-1f));
    p = v_fma(p, m, v_set1(-1.2420140846e-1f));
    p = v_fma(p, m, v_set1(1.4249322787e-1f));
    p = v_fma(p, m, v_set1(-1.6668057665e-1f));
    p = v_fma(p, m, v_set1(2.0000714765e-1f));
    p = v_fma(p, m, v_set1(-2.4999993993e-1f));
    p = v_fma(p, m, v_set1(3.3333331174e-1f));
    vf r = v_mul(v_mul(p, m), z);
    r = v_fma(e, v_set1(-2.12194440e-4f), r);
    r = v_fma(z, v_set1(-0.5f), r);
    r = v_fma(e, v_set1(0.693359375f), v_add(r, m));
    vf infinity = v_set1(INFINITY);
    r = v_where_less(x, infinity, r, infinity);
    r = v_where_less(zero, x, r, v_set1(-INFINITY));
    r = v_where_less(x, zero, v_set1(NAN), r);
    return v_where_nan(x, x, r);
}

/* NumPy's maximum and minimum: NaN where either is NaN. */
static inline vf v_maximum(vf a, vf b) { return v_where_nan(a, a, v_max(a, b)); }
static inline vf v_minimum(vf a, vf b) { return v_where_nan(a, a, v_min(a, b)); }

#endif
