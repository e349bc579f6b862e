/* AArch64, with or without dot products. See simd_int8_baseline.h for the contract. */
#ifndef CSBRNN_SIMD_INT8_NEON_H
#define CSBRNN_SIMD_INT8_NEON_H

#define I_OFFSET 0

typedef struct { int32x4_t q[4]; } isum;

static inline isum isum_zero(void) {
    int32x4_t zero = vdupq_n_s32(0);
    return (isum){{zero, zero, zero, zero}};
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

/* 16 of the 128 bytes at x for each strip: two table look-ups of 64 each. */
#define I_HAS_GATHER
static inline void i_gather(const uint8_t *x, const uint8_t *numbers, uint8_t *x0, uint8_t *x1,
                            uint8_t *x2, uint8_t *x3) {
    uint8x16x4_t low = {{vld1q_u8(x), vld1q_u8(x + 16), vld1q_u8(x + 32), vld1q_u8(x + 48)}};
    uint8x16x4_t high = {{vld1q_u8(x + 64), vld1q_u8(x + 80), vld1q_u8(x + 96), vld1q_u8(x + 112)}};
    uint8_t *to[4] = {x0, x1, x2, x3};
    for (unsigned s = 0; s < 4; s++) {
        uint8x16_t n = vld1q_u8(numbers + 16 * s);
        uint8x16_t found = vqtbl4q_u8(low, n); /* 0 where n is 64 or more */
        vst1q_u8(to[s], vqtbx4q_u8(found, high, vsubq_u8(n, vdupq_n_u8(64))));
    }
}

static inline void v_opaque(vf *a) { __asm__("" : "+w"(*a)); }

#include "simd_int8_shared.h"
#endif
