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
    for (unsigned k = 0; k < 4; k++) {
        if (group == 1) operand = vreinterpretq_s8_u8(vld1q_u8(x + 16 * k));
        s.q[k] = i_dot(s.q[k], vld1q_s8(w + 16 * k), operand);
    }
    return s;
}

static inline void v_opaque(vf *a) { __asm__("" : "+w"(*a)); }

/* The bytes at x that 64 numbers name, with `high` as their ninth bits: a table has 64 bytes. */
static inline void i_look_up(uint8_t *to, unsigned windows, const uint8_t *x,
                             const uint8_t *numbers, uint64_t high) {
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
    for (unsigned k = 0; k < 64; k += 16) {
        uint8x16_t found[2] = {vdupq_n_u8(0), vdupq_n_u8(0)};
        for (unsigned w = 0; w < windows; w++) {
            const uint8x16x4_t table = vld1q_u8_x4(x + 64 * w);
            const uint8x16_t n = vsubq_u8(vld1q_u8(numbers + k), vdupq_n_u8((uint8_t)(64 * w)));
            found[w / 4] = vqtbx4q_u8(found[w / 4], table, n);
        }
        if (windows > 4) {
            const uint8x8_t low = vdup_n_u8((uint8_t)(high >> k));
            const uint8x8_t upper = vdup_n_u8((uint8_t)(high >> (k + 8)));
            found[0] = vbslq_u8(vtstq_u8(vcombine_u8(low, upper), bit), found[1], found[0]);
        }
        vst1q_u8(to + k, found[0]);
    }
}

#include "simd_int8_shared.h"
#endif
