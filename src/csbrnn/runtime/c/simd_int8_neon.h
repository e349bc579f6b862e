/* AArch64, with or without dot products. See simd_int8_baseline.h for the contract. */
#ifndef CSBRNN_SIMD_INT8_NEON_H
#define CSBRNN_SIMD_INT8_NEON_H

#define I_OFFSET 0

CSBRNN_OWN(typedef struct { int32x4_t q[4]; } isum;)

static inline isum isum_zero(void) {
    const int32x4_t zero = vdupq_n_s32(0);
    const isum sums = {{zero, zero, zero, zero}};
    return sums;
}
static inline void isum_store(int32_t *p, isum a) {
    for (unsigned k = 0; k < 4; k++) vst1q_s32(p + 4 * k, a.q[k]);
}

#ifdef CSBRNN_NEON_DOT
static inline int32x4_t i_dot(int32x4_t s, int8x16_t w, int8x16_t x) {
#if defined(__clang__) && !defined(__ARM_FEATURE_DOTPROD)
    /* Clang 14 has the intrinsic only where the whole file may use it. */
    __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(s) : "w"(w), "w"(x));
    return s;
#else
    return vdotq_s32(s, w, x);
#endif
}
#else
static inline int32x4_t i_dot(int32x4_t s, int8x16_t w, int8x16_t x) {
    int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_high_s8(w, x);
    return vaddq_s32(s, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
}
#endif

static inline isum isum_dot(isum s, const int8_t *w, unsigned group, const uint8_t *x) {
    int8x16_t operand;
    if (group == 16) {
        int32_t four;
        memcpy(&four, x, sizeof four);
        operand = vreinterpretq_s8_s32(vdupq_n_s32(four));
    } else if (group == 8) {
        int64_t eight;
        memcpy(&eight, x, sizeof eight);
        operand = vreinterpretq_s8_s64(vdupq_n_s64(eight));
    } else {
        operand = vreinterpretq_s8_u8(vld1q_u8(x));
    }
    for (unsigned k = 0; k < 4; k++) s.q[k] = i_dot(s.q[k], vld1q_s8(w + 16 * k), operand);
    return s;
}

static inline void v_opaque(vf *a) { __asm__("" : "+w"(*a)); }

#include "simd_int8_shared.h"
#endif
