/* AVX-512 (F, BW, DQ, VL): 16 lanes. See simd_baseline.h for the contract of each function. */
#ifndef CSBRNN_SIMD_AVX512_H
#define CSBRNN_SIMD_AVX512_H

#define VL 16
typedef __m512 vf;
typedef __mmask16 vmask;

static inline vf v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
/* Each number in the upper half of its lane, zero below: a permutation does both at once (measured,
 * against widening and shifting: SR in 28 us for 34, with free rows 75 for 104). */
static inline vf v_load_bf16(const uint16_t *p) {
    const __m512i upper = _mm512_set_epi16(15, 15, 14, 14, 13, 13, 12, 12, 11, 11, 10, 10, 9, 9, 8, 8,
                                           7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    const __m256i all = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(
        0xaaaaaaaau, upper, _mm512_castsi256_si512(all)));
}
static inline vmask v_first(size_t n) { return (vmask)((1u << n) - 1u); }
static inline vf v_load_part(const float *p, size_t n) {
    return _mm512_maskz_loadu_ps(v_first(n), p);
}
static inline void v_store_part(float *p, vf a, size_t n) {
    _mm512_mask_storeu_ps(p, v_first(n), a);
}
static inline vf v_set1(float a) { return _mm512_set1_ps(a); }
static inline vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf v_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
static inline vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf v_abs(vf a) { return _mm512_abs_ps(a); }
static inline vf v_neg(vf a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
static inline vf v_round(vf a) { return _mm512_roundscale_ps(a, 0x08); }
static inline vf v_exp2i(vf n) { return _mm512_scalef_ps(_mm512_set1_ps(1.0f), n); }
static inline vf v_where_less(vf a, vf b, vf yes, vf no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
static inline vf v_where_nan(vf a, vf yes, vf no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), no, yes);
}
static inline vf v_bits_and_or(vf a, int32_t keep, int32_t set) {
    __m512i i = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(keep));
    return _mm512_castsi512_ps(_mm512_or_si512(i, _mm512_set1_epi32(set)));
}
static inline vf v_exponent(vf a) {
    return _mm512_cvtepi32_ps(_mm512_srli_epi32(_mm512_castps_si512(a), 23));
}

/* 2^(n / 16), |n| < 2^11, where `magic` is n + 1.5 * 2^23, the low bits of which are n: a permutation
 * finds 2^(k / 16) for k = n mod 16, which only looks at four bits, and n's others are added to the
 * exponent. k << 19 has been taken off the table beforehand. */
#define V_SIXTEENTHS
static inline vf v_exp2_sixteenths(vf magic) {
    const __m512i table = _mm512_setr_epi32(
        0x3f800000, 0x3f7daac3, 0x3f7b95c2, 0x3f79c3d3, 0x3f7837f0, 0x3f76f532, 0x3f75fed7, 0x3f75583f,
        0x3f7504f3, 0x3f7508a4, 0x3f75672a, 0x3f76248c, 0x3f7744fd, 0x3f78ccdf, 0x3f7ac0c7, 0x3f7d257d);
    const __m512i n = _mm512_castps_si512(magic);
    return _mm512_castsi512_ps(
        _mm512_add_epi32(_mm512_permutexvar_epi32(n, table), _mm512_slli_epi32(n, 19)));
}
/* What float32 lacks of that, relative to it. */
static inline vf v_exp2_rounded_off(vf magic) {
    const __m512 table = _mm512_setr_ps(
        0.0f, 0x1.8d96d4p-25f, -0x1.9c0c22p-27f, 0x1.964904p-25f, 0x1.125002p-25f, 0x1.370be4p-25f,
        -0x1.0a355p-25f, -0x1.00d8acp-27f, 0x1.26055cp-26f, -0x1.05cb44p-25f, 0x1.67a1cap-28f,
        0x1.a3b5e4p-28f, -0x1.f9c304p-27f, -0x1.6961b4p-28f, -0x1.a5217cp-28f, 0x1.61428ep-28f);
    return _mm512_permutexvar_ps(_mm512_castps_si512(magic), table);
}
/* a / b, b positive and below 2^127: an approximation to 14 bits, and what it leaves divided again.
 * A third of the time that v_div takes, and as a rule its bits. */
static inline vf v_quotient(vf a, vf b) {
    const vf r = _mm512_rcp14_ps(b), q = v_mul(a, r);
    return v_fma(v_fnma(b, q, a), r, q);
}

/* Zero, as the destination of an expansion or compression. On Zen 4 these wait for what their
 * destination held before, even where they are told to clear it: from block to block one after
 * another, a chain as long as a block (measured: 47 us a step instead of 39). */
static inline __m512i v_no_old(void) {
    __m512i zero = _mm512_setzero_si512();
    __asm__("" : "+v"(zero)); /* or the compiler would let the instruction clear it */
    return zero;
}

/* A broadcast load with a merge mask is a load and a blend in one: no shuffle, no temporary. */
static inline vf v_broadcast_into(vf a, vmask lanes, const float *p) {
    return _mm512_mask_broadcastss_ps(a, lanes, _mm_load_ss(p));
}
static inline vf v_spread8(const float *x, uint32_t c, unsigned piece) {
    (void)piece;
    return v_broadcast_into(_mm512_set1_ps(x[c & 0xffff]), 0xff00, x + (c >> 16));
}
static inline vf v_spread4(const float *x, uint64_t c, unsigned piece) {
    (void)piece;
    vf a = v_broadcast_into(_mm512_set1_ps(x[c & 0xffff]), 0x00f0, x + (c >> 16 & 0xffff));
    a = v_broadcast_into(a, 0x0f00, x + (c >> 32 & 0xffff));
    return v_broadcast_into(a, 0xf000, x + (c >> 48));
}

/* Of sixteen strips the next two operands each: x[number], whose numbers, below 16 * windows, are the
 * lower and the upper byte of `numbers`. Permutations of 32 floats, which look at five bits, chosen
 * among by the others: no gather, which takes as long as sixteen loads. */
static inline void v_lookup(vf *even, vf *odd, const float *x, const uint16_t *numbers,
                            unsigned windows) {
    const __m256i both = _mm256_loadu_si256((const __m256i *)(const void *)numbers);
    const __m512i n = _mm512_cvtepu16_epi32(both), m = _mm512_srli_epi32(n, 8);
    const vf a = v_load(x), b = v_load(x + 16), c = v_load(x + 32), d = v_load(x + 48);
#define CHOOSE(of, bit, low, high) \
    _mm512_mask_blend_ps(_mm512_test_epi32_mask(of, _mm512_set1_epi32(bit)), low, high)
#define OF_64(of, a, b, c, d) \
    CHOOSE(of, 32, _mm512_permutex2var_ps(a, of, b), _mm512_permutex2var_ps(c, of, d))
    *even = OF_64(n, a, b, c, d);
    *odd = OF_64(m, a, b, c, d);
    if (windows > 4) {
        const vf e = v_load(x + 64), f = v_load(x + 80), g = v_load(x + 96), h = v_load(x + 112);
        *even = CHOOSE(n, 64, *even, OF_64(n, e, f, g, h));
        *odd = CHOOSE(m, 64, *odd, OF_64(m, e, f, g, h));
    }
#undef CHOOSE
#undef OF_64
}

/* 32 numbers in bf16: those at even places, and those at odd ones. */
static inline void v_split_bf16(vf *even, vf *odd, const uint16_t *p) {
    __m512i both = _mm512_loadu_si512(p);
    __asm__("" : "+v"(both)); /* or gcc 12 loads it twice, and loads are what bounds a product */
    *even = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    *odd = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32((int)0xffff0000)));
}

/* In each quarter of four registers, rows become columns. */
static inline void transpose4(__m512i *a, __m512i *b, __m512i *c, __m512i *d) {
    const __m512i ab = _mm512_unpacklo_epi32(*a, *b), ab2 = _mm512_unpackhi_epi32(*a, *b);
    const __m512i cd = _mm512_unpacklo_epi32(*c, *d), cd2 = _mm512_unpackhi_epi32(*c, *d);
    *a = _mm512_unpacklo_epi64(ab, cd);
    *b = _mm512_unpackhi_epi64(ab, cd);
    *c = _mm512_unpacklo_epi64(ab2, cd2);
    *d = _mm512_unpackhi_epi64(ab2, cd2);
}

/* Adds to y, from each strip's first row on, its lanes of a .. d (of a and b only, if `two`): strip
 * by strip, until one is lacking. */
static inline void v_add_columns(float *y, const uint32_t *row, int two, vf a, vf b, vf c, vf d) {
    __m512i strips[4] = {_mm512_castps_si512(a), _mm512_castps_si512(b), _mm512_castps_si512(c),
                         _mm512_castps_si512(d)};
    transpose4(strips, strips + 1, strips + 2, strips + 3);
#define ADD(k, quarter)                                                                       \
    do {                                                                                      \
        if (row[4 * (quarter) + (k)] == CSBRNN_NONE) return;                                  \
        float *to = y + row[4 * (quarter) + (k)];                                             \
        const __m128 sums = _mm_castsi128_ps(_mm512_extracti32x4_epi32(strips[k], quarter));  \
        if (two) {                                                                            \
            const __m128 old = _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(void *)to)); \
            _mm_storel_pi((__m64 *)(void *)to, _mm_add_ps(old, sums));                        \
        } else {                                                                              \
            _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), sums));                            \
        }                                                                                     \
    } while (0)
#define ADD_QUARTER(quarter) \
    ADD(0, quarter); ADD(1, quarter); ADD(2, quarter); ADD(3, quarter)
    ADD_QUARTER(0);
    ADD_QUARTER(1);
    ADD_QUARTER(2);
    ADD_QUARTER(3);
#undef ADD_QUARTER
#undef ADD
}

/* Sums the columns of a tile: rows in the first 8 (or 4) lanes, and again in the others. */
static inline vf v_fold8(vf a) { return _mm512_add_ps(a, _mm512_shuffle_f32x4(a, a, 0x4e)); }
static inline vf v_fold4(vf a) {
    a = v_fold8(a);
    return _mm512_add_ps(a, _mm512_shuffle_f32x4(a, a, 0xb1));
}

#endif
