/* Columns looked up one by one. */
#ifndef CSBRNN_SIMD_INT8_SINGLE_H
#define CSBRNN_SIMD_INT8_SINGLE_H

/* The bytes at x that 64 numbers name, with `high` as their ninth bits. */
static inline void i_look_up(uint8_t *to, unsigned windows, const uint8_t *x,
                             const uint8_t *numbers, uint64_t high) {
    if (windows <= 4)
        for (unsigned k = 0; k < 64; k++) to[k] = x[numbers[k]];
    else
        for (unsigned k = 0; k < 64; k++, high >>= 1) to[k] = x[numbers[k] + 256 * (high & 1)];
}

#endif
