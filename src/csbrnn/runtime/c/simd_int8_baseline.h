/* The contract of an int8 header, and its version for machines we know nothing about.
 *
 * I_OFFSET is what operands carry beside their values: 0, or 128 where the machine multiplies
 * unsigned with signed bytes. isum is 16 sums in int32. A tile is `group` rows by 64 / group
 * columns, row by row, and one of a bundle a row of 64: isum_dot adds, to lane k, weights 4 k ..
 * 4 k + 3 times their operands. I_BUNDLE_ROWS, 8 or 16, is how many rows of a bundle's strips are
 * summed at once; with 16 there is an i_store_bundle16. */
#ifndef CSBRNN_SIMD_INT8_BASELINE_H
#define CSBRNN_SIMD_INT8_BASELINE_H

#define I_OFFSET 0

CSBRNN_OWN(typedef struct { int32_t lane[16]; } isum;)

static inline isum isum_zero(void) {
    static const isum zero = {{0}};
    return zero;
}
static inline void isum_store(int32_t *p, isum a) { memcpy(p, a.lane, sizeof a.lane); }
/* Copied, operands come one for each weight: a loop that compilers turn into whatever vectors there
 * are, for strips of 8 and 4 rows as well (measured with SSE2: SR in 276 us for 650, 372 for 824). */
static inline isum isum_dot(isum s, const int8_t *w, unsigned group, const uint8_t *x) {
    int8_t operand[64];
    const unsigned wide = 64 / group;
    for (unsigned k = 0; k < 64; k += wide) memcpy(operand + k, x, wide);
    for (unsigned k = 0; k < 16; k++)
        for (unsigned j = 0; j < 4; j++) s.lane[k] += w[4 * k + j] * operand[4 * k + j];
    return s;
}

/* Hides a value from the optimiser. */
static inline void v_opaque(vf *a) {
#ifdef __GNUC__
    __asm__("" : "+m"(*a));
#else
    volatile float hidden = *(float *)a;
    *(float *)a = hidden;
#endif
}

/* The bytes at x that 64 numbers name, with `high` as their ninth bits. */
static inline void i_look_up(uint8_t *to, unsigned windows, const uint8_t *x,
                             const uint8_t *numbers, uint64_t high) {
    if (windows <= 4)
        for (unsigned k = 0; k < 64; k++) to[k] = x[numbers[k]];
    else
        for (unsigned k = 0; k < 64; k++, high >>= 1) to[k] = x[numbers[k] + 256 * (high & 1)];
}

/* Without it, gcc makes less of the loops before (measured with SSE2: strips of 8 rows 350 us for
 * 273). */
#ifdef __GNUC__
#define I_APART __attribute__((noinline)) static
#endif
#include "simd_int8_shared.h"
#undef I_APART
#endif
