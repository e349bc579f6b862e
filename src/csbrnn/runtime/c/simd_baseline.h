/* The contract of a SIMD header, and its version for machines we know nothing about.
 *
 * GCC and clang lower the vector type below to whatever there is: SSE2 on x86-64, NEON, RISC-V, or
 * plain scalar code. Other compilers get one lane. A header defines VL (1, 4, 8 or 16), vf and the
 * functions below; v_load_part and v_store_part are shared (kernels_math.h) unless VL is 16.
 */
#ifndef CSBRNN_SIMD_BASELINE_H
#define CSBRNN_SIMD_BASELINE_H

#if defined(__GNUC__) && !defined(CSBRNN_NO_SIMD)
#define VL 4
typedef float vf __attribute__((vector_size(16)));
#else
#define VL 1
typedef float vf;
#endif

static inline vf v_load(const float *p) { vf a; memcpy(&a, p, sizeof a); return a; }
static inline void v_store(float *p, vf a) { memcpy(p, &a, sizeof a); }
static inline vf v_add(vf a, vf b) { return a + b; }
static inline vf v_sub(vf a, vf b) { return a - b; }
static inline vf v_mul(vf a, vf b) { return a * b; }
static inline vf v_div(vf a, vf b) { return a / b; }
static inline vf v_fma(vf a, vf b, vf c) { return a * b + c; } /* rounded once or twice */
static inline vf v_fnma(vf a, vf b, vf c) { return c - a * b; }
static inline vf v_neg(vf a) { return -a; }
/* Nearest integer, for |a| < 2^22: adding 1.5 * 2^23 pushes the fraction out of the mantissa. It is
 * taken off as an integer, since -ffast-math (-Ofast) would let the two sums of floats cancel. */
static inline vf v_round(vf a);

#if VL == 4
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));
typedef uint16_t vu16 __attribute__((vector_size(8)));
static inline vu v_widen(vu16 a) { return __builtin_convertvector(a, vu); }
static inline vf v_set1(float a) { vf all = {a, a, a, a}; return all; }
static inline vi v_int1(int32_t a) { vi all = {a, a, a, a}; return all; }
static inline vi v_to_int(vf a) { return __builtin_convertvector(a, vi); }
static inline vf v_to_float(vi a) { return __builtin_convertvector(a, vf); }
static inline vi v_bits(vf a) { return (vi)a; }
static inline vf v_from_bits(vi a) { return (vf)a; }
static inline vi v_less(vf a, vf b) { return a < b; }
static inline vi v_equal(vf a, vf b) { return a == b; }
#else
typedef int32_t vi;
typedef uint32_t vu;
typedef uint16_t vu16;
static inline vu v_widen(vu16 a) { return a; }
static inline vf v_set1(float a) { return a; }
static inline vi v_int1(int32_t a) { return a; }
static inline vi v_to_int(vf a) { return a > -2e9f && a < 2e9f ? (vi)a : 0; }
static inline vf v_to_float(vi a) { return (vf)a; }
static inline vi v_bits(vf a) { vi i; memcpy(&i, &a, sizeof i); return i; }
static inline vf v_from_bits(vi i) { vf a; memcpy(&a, &i, sizeof a); return a; }
static inline vi v_less(vf a, vf b) { return -(a < b); }
static inline vi v_equal(vf a, vf b) { return -(a == b); }
#endif

static inline vf v_load_bf16(const uint16_t *p) {
    vu16 upper;
    memcpy(&upper, p, sizeof upper);
    return v_from_bits((vi)(v_widen(upper) << 16));
}
/* 2 VL numbers in bf16: those at even places, and those at odd ones. */
static inline void v_split_bf16(vf *even, vf *odd, const uint16_t *p) {
    vu both;
    memcpy(&both, p, sizeof both);
    *even = v_from_bits((vi)(both << 16));
    *odd = v_from_bits((vi)(both >> 16 << 16));
}

static inline vf v_select(vi yes, vf a, vf b) {
    return v_from_bits((yes & v_bits(a)) | (~yes & v_bits(b)));
}
/* The lesser (greater); b where either is NaN. */
static inline vf v_min(vf a, vf b) { return v_select(v_less(a, b), a, b); }
static inline vf v_max(vf a, vf b) { return v_select(v_less(b, a), a, b); }
static inline vf v_abs(vf a) { return v_from_bits(v_bits(a) & v_int1(0x7fffffff)); }
static inline vf v_round(vf a) {
    const vf big = v_set1(12582912.0f);
    return v_to_float(v_bits(a + big) - v_bits(big));
}
/* 2^n for integral n in -126 .. 127; anything (but no trap) elsewhere. */
static inline vf v_exp2i(vf n) {
    vf safe = v_min(v_set1(127.0f), v_max(n, v_set1(-126.0f)));
    return v_from_bits((v_to_int(safe) + v_int1(127)) * v_int1(1 << 23));
}
static inline vf v_where_less(vf a, vf b, vf yes, vf no) { return v_select(v_less(a, b), yes, no); }
static inline vf v_where_nan(vf a, vf yes, vf no) { return v_select(v_equal(a, a), no, yes); }
static inline vf v_bits_and_or(vf a, int32_t keep, int32_t set) {
    return v_from_bits((v_bits(a) & v_int1(keep)) | v_int1(set));
}
/* The biased exponent of a positive normal number, as a float. */
static inline vf v_exponent(vf a) { return v_to_float((v_bits(a) >> 23) & v_int1(0xff)); }

/* Operand of lanes [piece * VL, ..) of a 16-float tile of 8 (or 4) rows by 2 (or 4) columns, whose
 * numbers are packed in c, 16 bits each: lane k belongs to column (piece * VL + k) / rows. */
static inline vf v_spread8(const float *x, uint32_t c, unsigned piece) {
    return v_set1(x[c >> 16 * (piece * VL / 8) & 0xffff]);
}
static inline vf v_spread4(const float *x, uint64_t c, unsigned piece) {
    return v_set1(x[c >> 16 * (piece * VL / 4) & 0xffff]);
}

#endif
