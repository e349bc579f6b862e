/* Operands gathered into memory by the i_look_up() of an instruction set: where no instruction
 * permutes 128 bytes. */
#ifndef CSBRNN_SIMD_INT8_GATHER_H
#define CSBRNN_SIMD_INT8_GATHER_H

#include "bits.h"

typedef const uint8_t *igathered;

/* The operand's bytes at x that line l names. */
static inline igathered i_gather(uint8_t *to, unsigned windows, const uint8_t *x,
                                 const csbrnn_lines *lines, size_t l) {
    const uint64_t high = windows > 4 ? lines->high[l] : 0;
    i_look_up(to, windows, x + 64 * (size_t)lines->start[l], lines->numbers + 64 * l, high);
    return to;
}

/* Bytes of x that the mask names, to `to`. */
static inline void i_compress(uint8_t *to, const uint8_t *x, uint64_t columns) {
    for (; columns; columns &= columns - 1) *to++ = x[lowest_bit(columns)];
}

/* isum_dot with the gathered bytes from `at` on. Whether that is a constant matters to those only
 * that keep them in a register. */
static inline isum isum_dot_at(isum s, const int8_t *w, unsigned group, igathered x, size_t at,
                               int constant) {
    (void)constant;
    return isum_dot(s, w, group, x + at);
}

#endif
