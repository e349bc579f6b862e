/* Masks of 64 columns, or rows, of which each has a bit. */
#ifndef CSBRNN_BITS_H
#define CSBRNN_BITS_H

#include <stddef.h>
#include <stdint.h>

/* Compilers know this for what it is, and take an instruction where there is one. */
static inline size_t count_bits(uint64_t bits) {
    bits -= bits >> 1 & 0x5555555555555555u;
    bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
    bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (size_t)(bits * 0x0101010101010101u >> 56);
}

/* The place of the lowest bit that is set; there must be one. */
static inline unsigned lowest_bit(uint64_t bits) {
#ifdef __GNUC__
    return (unsigned)__builtin_ctzll(bits);
#else
    return (unsigned)count_bits((bits & (0 - bits)) - 1);
#endif
}

#endif
