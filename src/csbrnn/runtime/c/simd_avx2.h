/* AVX2 with FMA: 8 lanes. See simd_baseline.h for the contract of each function. */
#ifndef CSBRNN_SIMD_AVX2_H
#define CSBRNN_SIMD_AVX2_H

#define VL 8
typedef __m256 vf;

static inline vf v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void v_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
static inline vf v_load_bf16(const uint16_t *p) {
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
static inline void v_split_bf16(vf *even, vf *odd, const uint16_t *p) {
    __m256i both = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __asm__("" : "+x"(both)); /* or gcc 12 loads it twice */
    *even = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
    *odd = _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32((int)0xffff0000)));
}
static inline vf v_set1(float a) { return _mm256_set1_ps(a); }
static inline vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf v_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
static inline vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vf v_neg(vf a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
static inline vf v_round(vf a) { return _mm256_round_ps(a, 0x08); }
static inline vf v_exp2i(vf n) {
    __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
static inline vf v_where_less(vf a, vf b, vf yes, vf no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
static inline vf v_where_nan(vf a, vf yes, vf no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
static inline vf v_bits_and_or(vf a, int32_t keep, int32_t set) {
    __m256i i = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(keep));
    return _mm256_castsi256_ps(_mm256_or_si256(i, _mm256_set1_epi32(set)));
}
static inline vf v_exponent(vf a) {
    return _mm256_cvtepi32_ps(_mm256_srli_epi32(_mm256_castps_si256(a), 23));
}
static inline vf v_spread8(const float *x, uint32_t c, unsigned piece) {
    return _mm256_broadcast_ss(x + (c >> 16 * piece & 0xffff));
}
static inline vf v_spread4(const float *x, uint64_t c, unsigned piece) {
    c >>= 32 * piece;
    return _mm256_blend_ps(_mm256_broadcast_ss(x + (c & 0xffff)),
                           _mm256_broadcast_ss(x + (c >> 16 & 0xffff)), 0xf0);
}

#endif
