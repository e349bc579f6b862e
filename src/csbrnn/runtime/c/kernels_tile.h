/* Tiles of 16 floats in vectors of any width: what products for one vector and for many share. */
#ifndef CSBRNN_KERNELS_TILE_H
#define CSBRNN_KERNELS_TILE_H

#include "bits.h"
#include "shaped.h"

#define PIECES (CSBRNN_STRIP / VL) /* vectors a tile */
/* Sums in flight, to hide the latency of a fused multiply-add (4 cycles, two a cycle: 8 chains).
 * Narrow vectors have chains enough in one tile. */
#define CHAINS (VL == 16 ? 4 : VL == 8 ? 2 : 1)
/* Dense strips computed together, so that an operand is broadcast once for all of them; bounded by
 * the registers (4 x 1 zmm of 32, 2 x 2 ymm of 16, 1 x 4 xmm of 16), with two columns in flight. */
#define DENSE_STRIPS (VL == 16 ? 4u : VL == 8 ? 2u : 1u)

/* Columns that are summed before they are added to y: rounding errors grow with the length of a
 * chain of additions, and a sum of sums has two short ones (measured: half the error in the logits
 * of an LSTM of 512 units). */
#define DENSE_SUM 128

CSBRNN_OWN(typedef struct { vf piece[PIECES]; } tile;)

static inline tile tile_zero(void) {
    tile t;
    for (unsigned p = 0; p < PIECES; p++) t.piece[p] = v_set1(0.0f);
    return t;
}

static inline tile tile_add(tile a, tile b) {
    for (unsigned p = 0; p < PIECES; p++) a.piece[p] = v_add(a.piece[p], b.piece[p]);
    return a;
}

/* Four column numbers at once: loads, not arithmetic, are what tiles compete for. */
static inline uint64_t four_columns(const uint16_t *columns) {
    uint64_t four;
    memcpy(&four, columns, sizeof four);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "images are little-endian, and executed in place"
#endif
    return four;
}

/* The columns of tile `t`, of `wide` columns, lowest first; all 64 bits of its group of four tiles
 * are loaded, and compilers load them once. */
static inline uint64_t tile_columns(const uint16_t *columns, unsigned t, unsigned wide) {
    return four_columns(columns + (t * wide & ~3u)) >> 16 * (t * wide & 3u);
}

/* A strip's rows out of its tile: the first `group` floats of `rows`. */
static inline void tile_rows(tile sum, unsigned group, float *rows) {
#if VL == 16
    v_store(rows, group == 16  ? sum.piece[0]
                  : group == 8 ? v_fold8(sum.piece[0])
                               : v_fold4(sum.piece[0]));
#else
    float lanes[CSBRNN_STRIP];
    for (unsigned p = 0; p < PIECES; p++) v_store(lanes + p * VL, sum.piece[p]);
    for (unsigned r = 0; r < group; r++) rows[r] = lanes[r];
    for (unsigned k = group; k < CSBRNN_STRIP; k++) rows[k % group] += lanes[k];
#endif
}

static inline void add_rows(float *y, const float *rows, size_t count) {
    for (size_t r = 0; r < count; r++) y[r] += rows[r];
}

#if VL != 16
/* See simd_avx512.h; here one by one, but for the numbers of four strips at once. */
static inline void v_lookup(vf *even, vf *odd, const float *x, const uint16_t *numbers,
                            unsigned windows) {
    float found[2][VL];
    (void)windows;
    for (unsigned k = 0; k < VL; k++) {
        const uint64_t pair = VL == 1 ? *numbers : four_columns(numbers + (k & ~3u)) >> 16 * (k & 3u);
        found[0][k] = x[pair & 0xff];
        found[1][k] = x[pair >> 8 & 0xff];
    }
    *even = v_load(found[0]);
    *odd = v_load(found[1]);
}
#endif

/* The weights of VL strips in two columns, piece `p` of them: one column after the other in fp32,
 * and strip by strip in bf16, where one load serves both columns. */
static inline void v_load_pairs(vf *even, vf *odd, const float *weights, unsigned p) {
    *even = v_load(weights + p * VL);
    *odd = v_load(weights + CSBRNN_STRIP + p * VL);
}
static inline void v_load_bf16_pairs(vf *even, vf *odd, const uint16_t *weights, unsigned p) {
    v_split_bf16(even, odd, weights + 2 * p * VL);
}

/* y += `group` rows of up to sixteen strips, a lane each. */
static inline void add_bundle(float *y, const uint32_t *row, unsigned group,
                              const float (*sums)[CSBRNN_STRIP]) {
#if VL == 16
    if (group > 1) {
        const int two = group == 2;
        v_add_columns(y, row, two, v_load(sums[0]), v_load(sums[1]), v_load(sums[2]), v_load(sums[3]));
        if (group == 8)
            v_add_columns(y + 4, row, two, v_load(sums[4]), v_load(sums[5]), v_load(sums[6]),
                          v_load(sums[7]));
        return;
    }
#endif
    for (unsigned k = 0; k < CSBRNN_STRIP && row[k] != CSBRNN_NONE; k++)
        for (unsigned r = 0; r < group; r++) y[row[k] + r] += sums[r][k];
}

#if VL == 16
/* Adds a block's rows, packed in `low` and `high`, to the rows that its mask names. An expand of
 * the numbers `done`, `done + 1`, .. says which packed row each lane takes: rows never leave the
 * registers, and the mask's 8 bytes are all the index there is. */
static inline void scatter(vf low, vf high, int two, uint64_t mask, unsigned windows, float *y) {
    static const int32_t numbers[48] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
        16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
        32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47};
    for (unsigned w = 0; w < windows; w++) {
        unsigned done = (unsigned)__builtin_popcountll(mask & ((1ull << 16 * w) - 1u));
        vmask lanes = (vmask)(mask >> 16 * w);
        __m512i from = _mm512_loadu_si512(numbers + (done & 31u));
        from = _mm512_mask_expand_epi32(v_no_old(), lanes, from);
        vf rows = two ? _mm512_permutex2var_ps(low, from, high)
                      : _mm512_permutexvar_ps(from, low);
        vf old = v_load(y + 16 * w);
        v_store(y + 16 * w, _mm512_mask_add_ps(old, lanes, old, rows));
    }
}
#else
static inline void scatter(const float *rows, uint64_t mask, float *y) {
    for (; mask; mask &= mask - 1) y[lowest_bit(mask)] += *rows++;
}
#endif

#endif
