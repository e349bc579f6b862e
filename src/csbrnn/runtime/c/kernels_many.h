/* The product for several vectors at once: each tile of weights that is read serves all of them.
 *
 * A *lane* is one stream's memory, or that of one step of a sequence. Lanes are taken four at a
 * time: their sums stay in registers, the tile and its column numbers are loaded once. For each
 * lane the sums are formed in the order of kernels_product.h, so the bits are the same.
 *
 * Sparse sections are cut into runs whose weights stay in the second-level cache while all lanes
 * pass through them; dense ones into panels that stay in the first.
 */
#ifndef CSBRNN_KERNELS_MANY_H
#define CSBRNN_KERNELS_MANY_H

#define LANES 4u
/* Tiles of a run: 128 KiB, a fraction of any second-level cache. */
#define RUN_TILES 2048u
/* Vectors of rows that a dense product holds for each lane, twice (even and odd columns): 16 of 32
 * registers of AVX-512, 8 of 16 elsewhere. */
#define DENSE_VECTORS (VL == 16 ? 2u : 1u)

typedef struct { const float *a, *b, *c, *d; } lanes_in;  /* four lanes' operands */
CSBRNN_OWN(typedef struct { vf a, b, c, d; } lanes_sum;)  /* one vector of rows for each */
typedef struct { float *lane[LANES]; unsigned used; } lanes_out;

static inline lanes_sum lanes_zero(void) {
    const vf zero = v_set1(0.0f);
    const lanes_sum s = {zero, zero, zero, zero};
    return s;
}

static inline lanes_sum lanes_add(lanes_sum s, lanes_sum t) {
    const lanes_sum sum = {v_add(s.a, t.a), v_add(s.b, t.b), v_add(s.c, t.c), v_add(s.d, t.d)};
    return sum;
}

static inline vf tile_operand(unsigned group, const float *x, uint64_t c, unsigned piece) {
    return group == 16  ? v_set1(x[c & 0xffff])
           : group == 8 ? v_spread8(x, (uint32_t)c, piece)
                        : v_spread4(x, c, piece);
}

static inline void keep_piece(tile *sums, unsigned piece, lanes_sum s) {
    sums[0].piece[piece] = s.a;
    sums[1].piece[piece] = s.b;
    sums[2].piece[piece] = s.c;
    sums[3].piece[piece] = s.d;
}

/* Four lanes from `first` on; where there are fewer, the last is read again and written once. */
static inline lanes_out results(float *const *lanes, size_t first, size_t count, uint32_t at) {
    lanes_out four;
    for (unsigned l = 0; l < LANES; l++)
        four.lane[l] = lanes[first + l < count ? first + l : count - 1] + at;
    four.used = count - first < LANES ? (unsigned)(count - first) : LANES;
    return four;
}

static inline lanes_in operands(float *const *lanes, size_t first, size_t count, uint32_t at) {
    const lanes_out four = results(lanes, first, count, at);
    const lanes_in x = {four.lane[0], four.lane[1], four.lane[2], four.lane[3]};
    return x;
}

/* Adds a tile's weights times each lane's operand. `lanes` is a constant: 1, 2 or 4. */
SHAPED lanes_sum lanes_add_tile(lanes_sum s, unsigned lanes, unsigned group, unsigned piece, vf w,
                                lanes_in x, uint64_t c) {
    s.a = v_fma(w, tile_operand(group, x.a, c, piece), s.a);
    if (lanes > 1) s.b = v_fma(w, tile_operand(group, x.b, c, piece), s.b);
    if (lanes > 2) s.c = v_fma(w, tile_operand(group, x.c, c, piece), s.c);
    if (lanes > 2) s.d = v_fma(w, tile_operand(group, x.d, c, piece), s.d);
    return s;
}

/* Calls f(.., lanes, ..) with a constant. */
#define WITH_LANES(used, f, ...)                   \
    do {                                           \
        if ((used) == 1) f(1, __VA_ARGS__);        \
        else if ((used) == 2) f(2, __VA_ARGS__);   \
        else f(4, __VA_ARGS__);                    \
    } while (0)

static inline size_t dense_columns(size_t columns, size_t first) {
    return columns - first < DENSE_SUM ? columns - first : DENSE_SUM;
}

#define WEIGHT float
#define LOAD_WEIGHTS v_load
#define LOAD_PAIRS v_load_pairs
#define PAIRED 0
#define NAMED(function) function##_fp32
#include "kernels_many_sections.h"
#include "kernels_bundles.h"
#undef WEIGHT
#undef LOAD_WEIGHTS
#undef LOAD_PAIRS
#undef PAIRED
#undef NAMED
#define WEIGHT uint16_t
#define LOAD_WEIGHTS v_load_bf16
#define LOAD_PAIRS v_load_bf16_pairs
#define PAIRED 1
#define NAMED(function) function##_bf16
#include "kernels_many_sections.h"
#include "kernels_bundles.h"
#undef WEIGHT
#undef LOAD_WEIGHTS
#undef LOAD_PAIRS
#undef PAIRED
#undef NAMED

/* One section; `format` is fp32 or bf16. */
#define MANY(kind, rows, format) \
    kind##_many_##format(rows, section, image, in->a, lanes, count); break
#define SECTION_MANY(format)                                        \
    switch (section->kind * 64u + section->group) {                 \
        case CSBRNN_DENSE * 64 + 16: MANY(dense, 16, format);       \
        case CSBRNN_STRIPS * 64 + 16: MANY(strips, 16, format);     \
        case CSBRNN_STRIPS * 64 + 8: MANY(strips, 8, format);       \
        case CSBRNN_STRIPS * 64 + 4: MANY(strips, 4, format);       \
        case CSBRNN_BUNDLES * 64 + 8: MANY(bundles, 8, format);     \
        case CSBRNN_BUNDLES * 64 + 4: MANY(bundles, 4, format);     \
        case CSBRNN_BUNDLES * 64 + 2: MANY(bundles, 2, format);     \
        case CSBRNN_BUNDLES * 64 + 1: MANY(bundles, 1, format);     \
        case CSBRNN_BLOCKS * 64 + 4: MANY(blocks, 4, format);       \
        case CSBRNN_BLOCKS * 64 + 8: MANY(blocks, 8, format);       \
        case CSBRNN_BLOCKS * 64 + 12: MANY(blocks, 12, format);     \
        case CSBRNN_BLOCKS * 64 + 16: MANY(blocks, 16, format);     \
        case CSBRNN_BLOCKS * 64 + 20: MANY(blocks, 20, format);     \
        case CSBRNN_BLOCKS * 64 + 24: MANY(blocks, 24, format);     \
        case CSBRNN_BLOCKS * 64 + 28: MANY(blocks, 28, format);     \
        case CSBRNN_BLOCKS * 64 + 32: MANY(blocks, 32, format);     \
        default: break; /* csbrnn_image_check lets nothing else through */ \
    }

/* As `product`, for the memories of `count` lanes, with weights in fp32 or bf16. */
void PRODUCT_MANY(const csbrnn_frame *frame, const csbrnn_instruction *in,
                  const csbrnn_span *span, const csbrnn_section *section, float *const *lanes,
                  size_t count) {
    if (count == 0) return;
    if (!(in->flags & CSBRNN_ACCUMULATE)) {
        const size_t last = span->row + (((size_t)span->rows + 15u) & ~(size_t)15u);
        for (size_t l = 0; l < count; l++) {
            const csbrnn_frame own = {frame->image, frame->constants, lanes[l]};
            const float *bias = in->b == CSBRNN_NONE ? NULL : csbrnn_at(&own, in->b);
            for (size_t r = span->row; r < last; r += VL)
                v_store(lanes[l] + in->a + r, bias ? v_load(bias + r) : v_set1(0.0f));
        }
    }
    for (uint32_t k = 0; k < span->sections; k++, section++) {
        const unsigned char *image = frame->image;
        if (section->dtype == CSBRNN_BF16) SECTION_MANY(bf16)
        else SECTION_MANY(fp32)
    }
}

#endif
