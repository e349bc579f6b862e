/* Parts of the int8 kernels for instruction sets that have nothing better: numbers one by one. */
#ifndef CSBRNN_SIMD_INT8_SHARED_H
#define CSBRNN_SIMD_INT8_SHARED_H

/* Largest magnitude, as bits: NaN and infinities are the largest of all. */
static inline int32_t i_largest(const float *x, size_t n) {
    int32_t most = 0;
    for (size_t k = 0; k < n; k++) {
        int32_t bits;
        memcpy(&bits, x + k, sizeof bits);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    return most;
}

/* Adding 1.5 * 2^23 rounds to nearest even and leaves the integer in the low bits. */
static inline void i_quantize(uint8_t *__restrict q, const float *__restrict x, size_t n,
                              float inverse) {
    for (size_t k = 0; k < n; k++) {
        float v = x[k] * inverse;
        v = v < -127.0f ? -127.0f : v;
        v = v > 127.0f ? 127.0f : v;
        v += 12582912.0f;
        int32_t bits;
        memcpy(&bits, &v, sizeof bits);
        q[k] = (uint8_t)(bits + I_OFFSET);
    }
}

static inline void take(float *__restrict taken, int32_t *__restrict sums,
                        const int32_t *__restrict offsets, size_t n, int clear) {
    for (size_t r = 0; r < n; r++) {
        const uint32_t sum = (uint32_t)sums[r] - (I_OFFSET ? (uint32_t)offsets[r] : 0u);
        taken[r] = (float)(int32_t)sum;
        if (clear) sums[r] = 0;
    }
}

/* sums[r] - the offset's part, as floats, of n rows, up to VL; leaves zeros, if it shall. With a
 * constant length compilers do all rows at once: one by one, gates took half of a step. */
static inline vf i_take(int32_t *sums, const int32_t *offsets, size_t n, int clear) {
    float taken[VL] = {0};
    if (n == VL) take(taken, sums, offsets, VL, clear);
    else take(taken, sums, offsets, n, clear);
    return v_load(taken);
}

#include "simd_int8_gather.h"

#define I_BUNDLE_ROWS 8

/* Sums of a strip: `group` rows of 16 / group neighbouring lanes. */
#ifndef I_APART
#define I_APART static inline
#endif
I_APART void isum_rows(isum a, unsigned group, int32_t *rows) {
    int32_t lanes[16];
    const unsigned each = 16 / group;
    isum_store(lanes, a);
    for (unsigned r = 0; r < group; r++) {
        uint32_t sum = (uint32_t)lanes[r * each];
        for (unsigned k = 1; k < each; k++) sum += (uint32_t)lanes[r * each + k];
        rows[r] = (int32_t)sum;
    }
}

static inline void i_store_quad(int32_t *sums, const uint32_t *row, unsigned group, isum a, isum b,
                                isum c, isum d) {
    isum_rows(a, group, sums + row[0]);
    isum_rows(b, group, sums + row[1]);
    isum_rows(c, group, sums + row[2]);
    isum_rows(d, group, sums + row[3]);
}

/* Rows a .. h of sixteen strips, a lane each: strip by strip, since rows that one lacks belong to a
 * later one. */
static inline void i_store_bundle(int32_t *sums, const uint32_t *row, unsigned group, isum a,
                                  isum b, isum c, isum d, isum e, isum f, isum g, isum h) {
    int32_t lanes[8][16];
    isum_store(lanes[0], a);
    if (group > 1) isum_store(lanes[1], b);
    if (group > 2) isum_store(lanes[2], c), isum_store(lanes[3], d);
    if (group > 4) {
        isum_store(lanes[4], e), isum_store(lanes[5], f);
        isum_store(lanes[6], g), isum_store(lanes[7], h);
    }
    for (unsigned k = 0; k < 16; k++)
        for (unsigned r = 0; r < group; r++) sums[row[k] + r] = lanes[r][k];
}

/* Adds a block's rows, packed in a, b (16 each), c (8) and d (4), to those that the mask names:
 * bit 4 j + w is row 16 w + j. */
static inline void i_scatter(int32_t *sums, uint64_t mask, unsigned windows, unsigned rows, isum a,
                             isum b, isum c, isum d) {
    int32_t packed[48], *to = packed;
    (void)windows;
    if (rows >= 16) isum_rows(a, 16, to), to += 16;
    if (rows == 32) isum_rows(b, 16, to), to += 16;
    if (rows & 8) isum_rows(c, 8, to), to += 8;
    if (rows & 4) isum_rows(d, 4, to);
    to = packed;
    for (; mask; mask &= mask - 1) {
        const unsigned bit = lowest_bit(mask);
        int32_t *sum = sums + 16 * (bit & 3) + (bit >> 2);
        *sum = (int32_t)((uint32_t)*sum + (uint32_t)*to++);
    }
}

#endif
