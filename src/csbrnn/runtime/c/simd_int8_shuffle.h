/* Columns looked up 16 bytes at a time, by the low four bits of their numbers, and chosen by the
 * other bits: 16 shuffles and 15 blends find 32 operands in 256 columns (measured with AVX2: 13 ns a
 * line, for 34 one by one). */
#ifndef CSBRNN_SIMD_INT8_SHUFFLE_H
#define CSBRNN_SIMD_INT8_SHUFFLE_H

/* 32 numbers: their low four bits, then each other bit as a byte's uppermost. */
typedef struct { __m256i low, bit4, bit5, bit6, bit7; } inumbers;

static inline __m256i i_pick16(const uint8_t *x, const inumbers *n) {
    const __m128i table = _mm_loadu_si128((const __m128i *)(const void *)x);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), n->low);
}

/* The same in twice as many bytes. */
#define PICK(twice, once, bit)                                                       \
    static inline __m256i i_pick##twice(const uint8_t *x, const inumbers *n) {       \
        return _mm256_blendv_epi8(i_pick##once(x, n), i_pick##once(x + once, n), n->bit); \
    }
PICK(32, 16, bit4)
PICK(64, 32, bit5)
PICK(128, 64, bit6)
PICK(256, 128, bit7)
#undef PICK

/* 32 bits as bytes: 0 or 255. */
static inline __m256i i_spread_bits(uint32_t bits) {
    const __m256i byte = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202,
                                            0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    const __m256i copies = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), byte);
    return _mm256_cmpeq_epi8(_mm256_and_si256(copies, bit), bit);
}

/* The bytes at x that 64 numbers name, with `high` as their ninth bits. A call of its own: it needs
 * all registers of AVX2, and the sums of four strips, eight of them, would move out for good. */
__attribute__((noinline)) static void i_look_up(uint8_t *to, unsigned windows, const uint8_t *x,
                                                const uint8_t *numbers, uint64_t high) {
    for (unsigned k = 0; k < 64; k += 32) {
        const __m256i n = _mm256_loadu_si256((const __m256i *)(const void *)(numbers + k));
        const inumbers these = {_mm256_and_si256(n, _mm256_set1_epi8(15)), _mm256_slli_epi16(n, 3),
                                _mm256_slli_epi16(n, 2), _mm256_slli_epi16(n, 1), n};
        __m256i found = windows == 2 ? i_pick128(x, &these) : i_pick256(x, &these);
        if (windows == 8)
            found = _mm256_blendv_epi8(found, i_pick256(x + 256, &these),
                                       i_spread_bits((uint32_t)(high >> k)));
        _mm256_storeu_si256((__m256i *)(void *)(to + k), found);
    }
}

#endif
