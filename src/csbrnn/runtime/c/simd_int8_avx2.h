/* AVX2, with or without AVX-VNNI. See simd_int8_baseline.h for the contract. */
#ifndef CSBRNN_SIMD_INT8_AVX2_H
#define CSBRNN_SIMD_INT8_AVX2_H

CSBRNN_OWN(typedef struct { __m256i low, high; } isum;)

static inline isum isum_zero(void) {
    const isum zero = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    return zero;
}
static inline void isum_store(int32_t *p, isum a) {
    _mm256_storeu_si256((__m256i *)(void *)p, a.low);
    _mm256_storeu_si256((__m256i *)(void *)(p + 8), a.high);
}

#ifdef CSBRNN_AVX_VNNI
#define I_OFFSET 128
static inline __m256i i_dot(__m256i s, __m256i x, __m256i w) {
    return _mm256_dpbusd_avx_epi32(s, x, w);
}
#else
#define I_OFFSET 0
/* |w| times x with w's sign: two such products are 32258 at most, and vpmaddubsw does not
 * saturate (that is what -128 is not a value for). */
static inline __m256i i_dot(__m256i s, __m256i x, __m256i w) {
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_add_epi32(s, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#endif

static inline __m256i i_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

static inline isum isum_dot(isum s, const int8_t *w, unsigned group, const uint8_t *x) {
    __m256i operand;
    if (group == 1) {
        s.low = i_dot(s.low, i_load(x), i_load(w));
        s.high = i_dot(s.high, i_load(x + 32), i_load(w + 32));
        return s;
    }
    if (group == 16) {
        int32_t four;
        memcpy(&four, x, sizeof four);
        operand = _mm256_set1_epi32(four);
    } else if (group == 8) {
        int64_t eight;
        memcpy(&eight, x, sizeof eight);
        operand = _mm256_set1_epi64x(eight);
    } else {
        operand = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)x));
    }
    s.low = i_dot(s.low, operand, i_load(w));
    s.high = i_dot(s.high, operand, i_load(w + 32));
    return s;
}

static inline void v_opaque(vf *a) { __asm__("" : "+x"(*a)); }

#include "simd_int8_shuffle.h"
#include "simd_int8_shared.h"
#endif
