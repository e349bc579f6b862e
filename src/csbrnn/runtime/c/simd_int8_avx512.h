/* AVX-512, with or without VNNI and VBMI. See simd_int8_baseline.h for the contract. */
#ifndef CSBRNN_SIMD_INT8_AVX512_H
#define CSBRNN_SIMD_INT8_AVX512_H

#define I_OFFSET 128
#define I_BUNDLE_ROWS 16

typedef __m512i isum;

static inline isum isum_zero(void) { return _mm512_setzero_si512(); }
static inline void isum_store(int32_t *p, isum a) { _mm512_storeu_si512(p, a); }

/* s + x times the 64 bytes at `from`, four by four. */
static inline __m512i i_dot(__m512i s, __m512i x, const int8_t *from) {
#ifdef CSBRNN_AVX512_VNNI
    /* Of the intrinsic gcc 12 makes two copies of s more in many a loop (1 to 2% of a step). */
    __asm__("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(x), "m"(*(const __m512i *)(const void *)from));
    return s;
#else
    const __m512i w = _mm512_loadu_si512(from);
    /* Even and odd bytes as 16-bit numbers: products and their pairs' sums are exact. */
    __m512i x_even = _mm512_and_si512(x, _mm512_set1_epi16(0xff)), x_odd = _mm512_srli_epi16(x, 8);
    __m512i w_even = _mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8), w_odd = _mm512_srai_epi16(w, 8);
    s = _mm512_add_epi32(s, _mm512_madd_epi16(w_even, x_even));
    return _mm512_add_epi32(s, _mm512_madd_epi16(w_odd, x_odd));
#endif
}

static inline isum isum_dot(isum s, const int8_t *w, unsigned group, const uint8_t *x) {
    __m512i operand;
    if (group == 16) {
        int32_t four;
        memcpy(&four, x, sizeof four);
        operand = _mm512_set1_epi32(four);
    } else if (group == 8) {
        int64_t eight;
        memcpy(&eight, x, sizeof eight);
        operand = _mm512_set1_epi64(eight);
    } else if (group == 4) {
        operand = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)x));
    } else {
        operand = _mm512_loadu_si512(x);
    }
    return i_dot(s, operand, w);
}

static inline int32_t i_largest(const float *x, size_t n) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i most = _mm512_setzero_si512();
    size_t k = 0;
    for (; k + 16 <= n; k += 16)
        most = _mm512_max_epi32(most, _mm512_and_si512(magnitude, _mm512_loadu_si512(x + k)));
    if (k < n) {
        __m512i last = _mm512_maskz_loadu_epi32(v_first(n - k), x + k);
        most = _mm512_max_epi32(most, _mm512_and_si512(magnitude, last));
    }
    return _mm512_reduce_max_epi32(most);
}

static inline void i_quantize(uint8_t *q, const float *x, size_t n, float inverse) {
    const __m512 factor = _mm512_set1_ps(inverse), limit = _mm512_set1_ps(127.0f);
    const __m512i offset = _mm512_set1_epi32(I_OFFSET);
    for (size_t k = 0; k < n; k += 16) {
        const vmask lanes = n - k < 16 ? v_first(n - k) : (vmask)0xffff;
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + k), factor);
        v = _mm512_min_ps(_mm512_max_ps(v, v_neg(limit)), limit);
        /* To nearest even, whatever the mode. */
        __m512i i = _mm512_cvt_roundps_epi32(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm512_mask_cvtepi32_storeu_epi8(q + k, lanes, _mm512_add_epi32(i, offset));
    }
}

static inline vf i_take(int32_t *sums, const int32_t *offsets, size_t n, int clear) {
    const vmask lanes = n == VL ? (vmask)0xffff : v_first(n);
    __m512i sum = _mm512_maskz_loadu_epi32(lanes, sums);
    sum = _mm512_sub_epi32(sum, _mm512_maskz_loadu_epi32(lanes, offsets));
    if (clear) _mm512_mask_storeu_epi32(sums, lanes, _mm512_setzero_si512());
    return _mm512_cvtepi32_ps(sum);
}

#ifdef CSBRNN_AVX512_VNNI
/* They stay in a register: a permutation is faster than memory just written. */
typedef __m512i igathered;

/* Of 64 numbers' low seven bits: the bytes at x, 128 in all. */
static inline __m512i i_find(const uint8_t *x, __m512i numbers) {
    return _mm512_permutex2var_epi8(_mm512_loadu_si512(x), numbers, _mm512_loadu_si512(x + 64));
}

static inline igathered i_gather(uint8_t *to, unsigned windows, const uint8_t *x,
                                 const csbrnn_lines *lines, size_t l) {
    const __m512i numbers = _mm512_load_si512(lines->numbers + 64 * l);
    const __mmask64 upper = _mm512_movepi8_mask(numbers);
    (void)to;
    x += 64 * (size_t)lines->start[l];
    __m512i found = i_find(x, numbers);
    if (windows > 2) found = _mm512_mask_blend_epi8(upper, found, i_find(x + 128, numbers));
    if (windows > 4) {
        __m512i high = i_find(x + 256, numbers);
        high = _mm512_mask_blend_epi8(upper, high, i_find(x + 384, numbers));
        found = _mm512_mask_blend_epi8(lines->high[l], found, high);
    }
    return found;
}

/* Through memory: loads that broadcast leave the shuffles to i_compress and i_scatter. */
static inline void i_compress(uint8_t *to, const uint8_t *x, uint64_t columns) {
    const __m512i all = _mm512_loadu_si512(x);
    _mm512_storeu_si512(to, _mm512_mask_compress_epi8(v_no_old(), columns, all));
}

/* Quarter `k` of x, or each quarter's number `k` of 4 bytes, all over. Whoever inlines it knows k:
 * the instructions have it as a constant. */
static inline __m512i i_quarter(__m512i x, size_t k) {
    switch (k) {
        case 0: return _mm512_shuffle_i32x4(x, x, 0x00);
        case 1: return _mm512_shuffle_i32x4(x, x, 0x55);
        case 2: return _mm512_shuffle_i32x4(x, x, 0xaa);
        default: return _mm512_shuffle_i32x4(x, x, 0xff);
    }
}
static inline __m512i i_four(__m512i x, size_t k) {
    switch (k) {
        case 0: return _mm512_shuffle_epi32(x, (_MM_PERM_ENUM)0x00);
        case 1: return _mm512_shuffle_epi32(x, (_MM_PERM_ENUM)0x55);
        case 2: return _mm512_shuffle_epi32(x, (_MM_PERM_ENUM)0xaa);
        default: return _mm512_shuffle_epi32(x, (_MM_PERM_ENUM)0xff);
    }
}

/* Zen 4 has two ports for permutations across a register, but three for those within its quarters:
 * 16 tiles of 16 rows in 21 cycles for 24. */
static inline isum isum_dot_at(isum s, const int8_t *w, unsigned group, igathered x, size_t at,
                               int constant) {
    __m512i operand;
    if (group == 16 && constant)
        operand = i_four(i_quarter(x, at / 16), at / 4 % 4);
    else if (group == 16)
        operand = _mm512_permutexvar_epi32(_mm512_set1_epi32((int)(at / 4)), x);
    else if (group == 8)
        operand = _mm512_permutexvar_epi64(_mm512_set1_epi64((long long)(at / 8)), x);
    else
        operand = x;
    return i_dot(s, operand, w);
}
#else
#include "simd_int8_shuffle.h"

#include "simd_int8_gather.h"
#endif

/* Sums of two strips of 8 rows: neighbouring lanes belong to one row. */
static inline __m512i i_fold8(__m512i a, __m512i b) {
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    return _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b),
                            _mm512_permutex2var_epi32(a, odd, b));
}

static inline void i_store8(int32_t *sums, __m256i rows) {
    _mm256_storeu_si256((__m256i *)(void *)sums, rows);
}

static inline void i_store_quad(int32_t *sums, const uint32_t *row, unsigned group, isum a, isum b,
                                isum c, isum d) {
    if (group == 16) {
        isum_store(sums + row[0], a);
        isum_store(sums + row[1], b);
        isum_store(sums + row[2], c);
        isum_store(sums + row[3], d);
    } else {
        __m512i ab = i_fold8(a, b), cd = i_fold8(c, d);
        i_store8(sums + row[0], _mm512_castsi512_si256(ab));
        i_store8(sums + row[1], _mm512_extracti64x4_epi64(ab, 1));
        i_store8(sums + row[2], _mm512_castsi512_si256(cd));
        i_store8(sums + row[3], _mm512_extracti64x4_epi64(cd, 1));
    }
}

static inline void i_store4(int32_t *sums, __m128i rows) {
    _mm_storeu_si128((__m128i *)(void *)sums, rows);
}

static inline void i_store2(int32_t *sums, __m128i rows) {
    _mm_storel_epi64((__m128i *)(void *)sums, rows);
}

/* Rows a .. h of sixteen strips, a lane each: strip by strip, since rows that one lacks belong to a
 * later one. */
static inline void i_store_bundle(int32_t *sums, const uint32_t *row, unsigned group, isum a,
                                  isum b, isum c, isum d, isum e, isum f, isum g, isum h) {
    if (group == 1) {
        int32_t lanes[16];
        isum_store(lanes, a);
        for (unsigned k = 0; k < 16; k++) sums[row[k]] = lanes[k];
        return;
    }
    transpose4(&a, &b, &c, &d);
    if (group == 8) {
        /* Quarters 0 and 1 of two registers in turns, and quarters 2 and 3: strips 4 w + k. */
        const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
        const __m512i last = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
        transpose4(&e, &f, &g, &h);
#define PAIR(low, high) \
    {_mm512_permutex2var_epi64(low, first, high), _mm512_permutex2var_epi64(low, last, high)}
        const __m512i pairs[4][2] = {PAIR(a, e), PAIR(b, f), PAIR(c, g), PAIR(d, h)};
#undef PAIR
        for (unsigned k = 0; k < 16; k++) {
            const __m512i pair = pairs[k % 4][k / 8];
            i_store8(sums + row[k], k / 4 % 2 ? _mm512_extracti64x4_epi64(pair, 1)
                                              : _mm512_castsi512_si256(pair));
        }
        return;
    }
#define STORE(strip, four, quarter)                                                       \
    if (group == 2) i_store2(sums + row[strip], _mm512_extracti32x4_epi32(four, quarter)); \
    else i_store4(sums + row[strip], _mm512_extracti32x4_epi32(four, quarter));
#define STORE_QUARTER(quarter)       \
    STORE(4 * quarter, a, quarter)     \
    STORE(4 * quarter + 1, b, quarter) \
    STORE(4 * quarter + 2, c, quarter) \
    STORE(4 * quarter + 3, d, quarter)
    STORE_QUARTER(0)
    STORE_QUARTER(1)
    STORE_QUARTER(2)
    STORE_QUARTER(3)
#undef STORE_QUARTER
#undef STORE
}

/* In four registers, quarters become registers. */
static inline void transpose_quarters(__m512i *a, __m512i *b, __m512i *c, __m512i *d) {
    const __m512i ab = _mm512_shuffle_i32x4(*a, *b, 0x88), ab2 = _mm512_shuffle_i32x4(*a, *b, 0xdd);
    const __m512i cd = _mm512_shuffle_i32x4(*c, *d, 0x88), cd2 = _mm512_shuffle_i32x4(*c, *d, 0xdd);
    *a = _mm512_shuffle_i32x4(ab, cd, 0x88);
    *b = _mm512_shuffle_i32x4(ab2, cd2, 0x88);
    *c = _mm512_shuffle_i32x4(ab, cd, 0xdd);
    *d = _mm512_shuffle_i32x4(ab2, cd2, 0xdd);
}

/* The same of sixteen rows. */
static inline void i_store_bundle16(int32_t *sums, const uint32_t *row, isum a, isum b, isum c,
                                    isum d, isum e, isum f, isum g, isum h, isum i, isum j, isum k,
                                    isum l, isum m, isum n, isum o, isum p) {
    transpose4(&a, &b, &c, &d);
    transpose4(&e, &f, &g, &h);
    transpose4(&i, &j, &k, &l);
    transpose4(&m, &n, &o, &p);
    transpose_quarters(&a, &e, &i, &m);
    transpose_quarters(&b, &f, &j, &n);
    transpose_quarters(&c, &g, &k, &o);
    transpose_quarters(&d, &h, &l, &p);
    const __m512i strips[16] = {a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p};
    for (unsigned strip = 0; strip < 16; strip++) isum_store(sums + row[strip], strips[strip]);
}

static inline void i_add16(int32_t *sums, __m512i rows) {
    isum_store(sums, _mm512_add_epi32(_mm512_loadu_si512(sums), rows));
}

/* Where sums lie among a block's 32, low and high, by their places: strips of 16 rows as they are;
 * those of 8, two lanes a row, and of 4, four lanes a row, where i_scatter leaves them. */
static const uint8_t i_places[8][32] = {
    {0, 4, 8, 12},
    {0, 2, 4, 6, 8, 10, 12, 14},
    {0, 2, 4, 6, 8, 10, 12, 14, 1, 5, 9, 13},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 20, 24, 28},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 26, 28, 30},
    {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
     14, 15, 16, 18, 20, 22, 24, 26, 28, 30, 17, 21, 25, 29},
    {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
     16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31}};

/* For each row of 64 the lane of its sum, or `none`; byte 4 j + w is that of row 16 w + j. */
static inline __m512i i_lanes(uint64_t mask, const uint8_t *places, char none) {
    const __m512i nowhere = _mm512_set1_epi8(none);
#ifdef CSBRNN_AVX512_VNNI
    const __m256i all = _mm256_loadu_si256((const __m256i *)(const void *)places);
    return _mm512_mask_expand_epi8(nowhere, mask, _mm512_castsi256_si512(all));
#else
    uint8_t lanes[64];
    _mm512_storeu_si512(lanes, nowhere);
    for (; mask; mask &= mask - 1) lanes[__builtin_ctzll(mask)] = *places++;
    return _mm512_loadu_si512(lanes);
#endif
}

/* Every step is chosen to leave the shuffles alone, of which there is one a cycle: lanes of a row
 * are summed by shifts, and a window's places come out of i_lanes by a shift. Rows that a block
 * lacks take lane 31, where no class but that of 32 rows has a sum; there, they are masked. */
static inline void i_scatter(int32_t *sums, uint64_t mask, unsigned windows, unsigned rows, isum a,
                             isum b, isum c, isum d) {
    __m512i tail = isum_zero();
    if (rows & 8) tail = _mm512_maskz_add_epi32(0x5555, c, _mm512_srli_epi64(c, 32));
    if (rows & 4) {
        const __m512i pairs = _mm512_add_epi32(d, _mm512_srli_epi64(d, 32));
        const __m512i one = _mm512_shuffle_epi32(pairs, (_MM_PERM_ENUM)0x00);
        const __m512i other = _mm512_shuffle_epi32(pairs, (_MM_PERM_ENUM)0xaa);
        tail = _mm512_mask_add_epi32(tail, rows & 8 ? 0x2222 : 0x1111, one, other);
    }
    const __m512i low = rows >= 16 ? a : tail;
    const __m512i high = rows == 32 ? b : rows > 16 ? tail : isum_zero();
    const __m512i absent = _mm512_set1_epi32(0x80);
    __m512i lanes = i_lanes(mask, i_places[rows / 4 - 1], (char)(rows == 32 ? 0x80 : 31));
#define SCATTER(w)                                                                                 \
    if (windows > w) {                                                                             \
        __m512i sum = _mm512_permutex2var_epi32(low, lanes, high);                                 \
        if (rows == 32) sum = _mm512_maskz_mov_epi32(_mm512_testn_epi32_mask(lanes, absent), sum); \
        i_add16(sums + 16 * w, sum);                                                               \
        lanes = _mm512_srli_epi32(lanes, 8);                                                       \
    }
    SCATTER(0)
    SCATTER(1)
    SCATTER(2)
    SCATTER(3)
#undef SCATTER
}

static inline void v_opaque(vf *a) { __asm__("" : "+v"(*a)); }

#endif
