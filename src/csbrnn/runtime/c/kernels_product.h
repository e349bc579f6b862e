/* y (+)= bias + W x over one span of rows: dense strips, sparse strips and blocks.
 *
 * Weights come in tiles of 16 floats, one cache line, read once and in order: the product is bound
 * by how fast they can be read, so all else is arranged to keep up with memory. A tile is G rows
 * by 16 / G columns. Whatever the width of a vector, a tile's lanes meet their operand through
 * v_spread16/8/4; lanes of one row but of different columns are only summed when a strip ends.
 */
#ifndef CSBRNN_KERNELS_PRODUCT_H
#define CSBRNN_KERNELS_PRODUCT_H

#include "kernels_tile.h"

#define WEIGHT float
#define LOAD_WEIGHTS v_load
#define LOAD_PAIRS v_load_pairs
#define NAMED(function) function##_fp32
#include "kernels_sections.h"
#include "kernels_bundles.h"
#undef WEIGHT
#undef LOAD_WEIGHTS
#undef LOAD_PAIRS
#undef NAMED
#define WEIGHT uint16_t
#define LOAD_WEIGHTS v_load_bf16
#define LOAD_PAIRS v_load_bf16_pairs
#define NAMED(function) function##_bf16
#include "kernels_sections.h"
#include "kernels_bundles.h"
#undef WEIGHT
#undef LOAD_WEIGHTS
#undef LOAD_PAIRS
#undef NAMED

/* Bundles are the same for one vector and for several. */
#define BUNDLES(rows, format) \
    bundles_many_##format(rows, section, image, in->a, &frame->memory, 1); break
/* One section; `format` is fp32 or bf16. */
#define SECTION_PRODUCT(format)                                                               \
    switch (section->kind * 64u + section->group) {                                           \
        case CSBRNN_DENSE * 64 + 16: dense_##format(section, image, x, y); break;             \
        case CSBRNN_STRIPS * 64 + 16: strips_##format(16, section, image, x, y); break;       \
        case CSBRNN_STRIPS * 64 + 8: strips_##format(8, section, image, x, y); break;         \
        case CSBRNN_STRIPS * 64 + 4: strips_##format(4, section, image, x, y); break;         \
        case CSBRNN_BUNDLES * 64 + 8: BUNDLES(8, format);                                     \
        case CSBRNN_BUNDLES * 64 + 4: BUNDLES(4, format);                                     \
        case CSBRNN_BUNDLES * 64 + 2: BUNDLES(2, format);                                     \
        case CSBRNN_BUNDLES * 64 + 1: BUNDLES(1, format);                                     \
        case CSBRNN_BLOCKS * 64 + 4: blocks_##format(4, section, image, x, y); break;         \
        case CSBRNN_BLOCKS * 64 + 8: blocks_##format(8, section, image, x, y); break;         \
        case CSBRNN_BLOCKS * 64 + 12: blocks_##format(12, section, image, x, y); break;       \
        case CSBRNN_BLOCKS * 64 + 16: blocks_##format(16, section, image, x, y); break;       \
        case CSBRNN_BLOCKS * 64 + 20: blocks_##format(20, section, image, x, y); break;       \
        case CSBRNN_BLOCKS * 64 + 24: blocks_##format(24, section, image, x, y); break;       \
        case CSBRNN_BLOCKS * 64 + 28: blocks_##format(28, section, image, x, y); break;       \
        case CSBRNN_BLOCKS * 64 + 32: blocks_##format(32, section, image, x, y); break;       \
        default: break; /* csbrnn_image_check lets nothing else through */                    \
    }

/* y = bias, unless something is there already. */
static inline void begin_product(const csbrnn_frame *frame, const csbrnn_instruction *in,
                                 const csbrnn_span *span) {
    float *y = frame->memory + in->a;
    if (in->flags & (CSBRNN_ACCUMULATE | CSBRNN_SUMS)) return;
    /* Destination and bias are padded to whole strips. */
    size_t last = span->row + (((size_t)span->rows + 15u) & ~(size_t)15u);
    const float *bias = in->b == CSBRNN_NONE ? NULL : csbrnn_at(frame, in->b);
    for (size_t r = span->row; r < last; r += VL)
        v_store(y + r, bias ? v_load(bias + r) : v_set1(0.0f));
}

static void add_section(const csbrnn_frame *frame, const csbrnn_instruction *in,
                        const csbrnn_span *span, const csbrnn_section *section) {
    float *y = frame->memory + in->a;
    if (CSBRNN_HAS_INT8 && section->dtype == CSBRNN_INT8) {
        product_int8(frame, y + span->row, section);
        return;
    }
    const float *x = frame->memory + section->source;
    const unsigned char *image = frame->image;
    if (CSBRNN_HAS_BF16 && section->dtype == CSBRNN_BF16) SECTION_PRODUCT(bf16)
    else if (CSBRNN_HAS_FP32) SECTION_PRODUCT(fp32)
}

static void product(const csbrnn_frame *frame, const csbrnn_instruction *in,
                    const csbrnn_span *span, const csbrnn_section *section) {
    begin_product(frame, in, span);
    for (uint32_t k = 0; k < span->sections; k++) add_section(frame, in, span, section + k);
}

#if CSBRNN_HAS_MANY
static void product_lanes(const csbrnn_frame *frame, const csbrnn_instruction *in,
                          const csbrnn_span *span, const csbrnn_section *section,
                          float *const *lanes, size_t count) {
#define FOR_LANES(do)                                                                        \
    for (size_t l = 0; l < count; l++) {                                                     \
        const csbrnn_frame own = {frame->image, frame->constants, lanes[l]};                 \
        do;                                                                                  \
    }
    FOR_LANES(begin_product(&own, in, span))
    for (uint32_t k = 0; k < span->sections; k++, section++) {
        if (section->dtype == CSBRNN_INT8 && section->kind != CSBRNN_SCALE)
            sum_lanes_int8(section, frame->image, lanes, count);
        else FOR_LANES(add_section(&own, in, span, section))
    }
#undef FOR_LANES
}
#endif

#endif
