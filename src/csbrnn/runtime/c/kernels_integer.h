/* Products in int8: quantizing operands, sums in int32, and scaling.
 *
 * The sum of a whole row, over every section of one matrix, is exact; only then is it scaled. So
 * every instruction set and every tiling gives the same bits (docs/spec/precision.md).
 *
 * Operands are kept as q + I_OFFSET, 0 or 128 as the instruction set likes, and what that adds, the
 * offset times the sum of a row's weights, is taken off before scaling: those sums are part of the
 * image. Everything wraps modulo 2^32; the final sums are in range.
 *
 * Dense sections and strips store sums, for a row lies in one strip only. Blocks add to them: where
 * there are blocks, whoever takes the sums leaves zeros.
 */
#ifndef CSBRNN_KERNELS_INTEGER_H
#define CSBRNN_KERNELS_INTEGER_H

#include "bits.h"
#include "shaped.h"

static inline int32_t float_bits(float a) {
    int32_t bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}

static inline float bits_float(int32_t bits) {
    float a;
    memcpy(&a, &bits, sizeof a);
    return a;
}

/* Docs/spec/precision.md, line by line. Not a sum of products anywhere: nothing to contract. */
static inline float scale_of(float largest) {
    float scale = largest * 0x1.020408p-7f;
    scale = bits_float((int32_t)(((uint32_t)float_bits(scale) + 64u) & ~(uint32_t)127u));
    return scale < 0x1p-125f ? 0.0f : scale;
}

#define INFINITY_BITS 0x7f800000

static void quantize(const csbrnn_frame *frame, const csbrnn_instruction *in, uint32_t part) {
    const float *x = csbrnn_at(frame, in->b);
    const size_t length = in->length;
    float *operand = frame->memory + in->a + (size_t)part * in->d;
    uint8_t *q = (uint8_t *)(operand + 16);
    const int32_t largest = i_largest(x, length);
    if (largest >= INFINITY_BITS) {
        *operand = NAN;
        memset(q, I_OFFSET, length);
        return;
    }
    const float scale = in->c ? bits_float((int32_t)in->c) : scale_of(bits_float(largest));
    *operand = scale;
    if (scale > 0.0f) i_quantize(q, x, length, 1.0f / scale);
    else memset(q, I_OFFSET, length);
}

/* Adds tile `t` of each of four strips to their sums a .. d: `dot` times operands x0 .. x3. */
#define QUAD_TILE(dot, t, a, b, c, d, x0, x1, x2, x3)      \
    do {                                                   \
        a = dot(a, w + 256 * (t), group, x0);              \
        b = dot(b, w + 256 * (t) + 64, group, x1);         \
        c = dot(c, w + 256 * (t) + 128, group, x2);        \
        d = dot(d, w + 256 * (t) + 192, group, x3);        \
    } while (0)

/* What a product in int8 is of: the operand's bytes, and where its sums go. */
typedef struct {
    const uint8_t *x;
    int32_t *sums;
} integer_lane;

static inline integer_lane integer_lane_of(const csbrnn_section *s, float *memory) {
    const integer_lane lane = {(const uint8_t *)(memory + s->source + 16) + s->column,
                               (int32_t *)(void *)(memory + s->sums)};
    return lane;
}

/* Heads `first` .. `last` of a section (strips, if it is dense), and where their weights and lines lie. */
typedef struct {
    uint32_t first, last;
    const int8_t *w, *w_end;
    size_t line, line_end;
} stretch;

/* All of a section. Its ends are not looked for: only `next_stretch` needs them. */
static inline stretch all_of(const csbrnn_section *s, const unsigned char *image) {
    const stretch all = {0, s->count, CSBRNN_ARRAY(int8_t, image, s->values), NULL, 0, 0};
    return all;
}

/* Tile `t` of each strip of a quad, of which DOT_AT has 16 columns each. */
#define DOT_AT(sum, weights, group, at) isum_dot_at(sum, weights, group, x, at, whole)
#define LINE_TILE(t) \
    QUAD_TILE(DOT_AT, t, a, b, c, d, wide *(t), 16 + wide * (t), 32 + wide * (t), 48 + wide * (t))
/* `count` tiles of each strip, whose columns are those of line `l`. In a whole line `count`, and so
 * every tile's place, is a constant. */
#define LINE(count, is_whole)                                                 \
    do {                                                                      \
        const int whole = is_whole;                                           \
        const igathered x = i_gather(buffer, windows, lane.x, &lines, l);     \
        for (size_t t = 0; t < (count); t++) LINE_TILE(t);                    \
    } while (0)

SHAPED void strips_int8(unsigned group, unsigned windows, const csbrnn_section *s,
                        const unsigned char *image, stretch at, integer_lane lane) {
    const csbrnn_quad_head *head = CSBRNN_ARRAY(csbrnn_quad_head, image, s->heads) + at.first;
    const csbrnn_lines lines = csbrnn_lines_of(image + s->indices, s->columns, windows);
    const int8_t *w = at.w;
    const size_t wide = 64 / group, each = CSBRNN_LINE_COLUMNS / wide; /* tiles a line */
    uint8_t buffer[64];
    size_t l = at.line;
    for (uint32_t k = at.first; k < at.last; k++, head++) {
        isum a = isum_zero(), b = a, c = a, d = a;
        size_t tiles = head->tiles;
        for (; tiles >= each; tiles -= each, w += 256 * each, l++) LINE(each, 1);
        if (tiles > 0) {
            LINE(tiles, 0);
            w += 256 * tiles;
            l++;
        }
        i_store_quad(lane.sums, head->row, group, a, b, c, d);
    }
}

#undef LINE
#undef LINE_TILE
#undef DOT_AT

/* Rows `first` .. `first + rows` of bundles' strips. A line finds operands for 16 strips, 4 each, which
 * are multiplied as they are: a tile has one row of each strip, and a lane of its sums belongs to one.
 * Of one stream or, each weight being read once, of two: `lanes` is a constant. */
SHAPED void bundles_int8(unsigned rows, unsigned windows, unsigned lanes, uint32_t first,
                         const csbrnn_section *s, const unsigned char *image, stretch at,
                         integer_lane one, integer_lane other) {
    const csbrnn_bundle_head *head = CSBRNN_ARRAY(csbrnn_bundle_head, image, s->heads) + at.first;
    const csbrnn_lines lines = csbrnn_lines_of(image + s->indices, s->columns, windows);
    const int8_t *w = at.w + 64 * first;
    const size_t step = 64 * (size_t)s->group;
    int32_t *sums = one.sums + first, *others = other.sums + first;
    uint8_t buffer[2][64];
    size_t l = at.line;
    for (uint32_t k = at.first; k < at.last; k++, head++) {
        const isum z = isum_zero();
        isum a0 = z, a1 = z, a2 = z, a3 = z, a4 = z, a5 = z, a6 = z, a7 = z;
        isum b0 = z, b1 = z, b2 = z, b3 = z, b4 = z, b5 = z, b6 = z, b7 = z;
        for (const size_t stop = l + head->lines; l < stop; l++, w += step) {
            const igathered x = i_gather(buffer[0], windows, one.x, &lines, l);
            const igathered y = lanes == 2 ? i_gather(buffer[1], windows, other.x, &lines, l) : x;
            /* Of one lane, b0 .. b7 are rows 8 .. 15; of two, the other's rows. */
#define ROW(r, a, b)                                                                      \
    if (rows > r) a = isum_dot_at(a, w + 64 * r, 1, x, 0, 1);                             \
    if (lanes == 1 && rows > r + 8) b = isum_dot_at(b, w + 64 * (r + 8), 1, x, 0, 1);     \
    if (lanes == 2 && rows > r) b = isum_dot_at(b, w + 64 * r, 1, y, 0, 1);
            ROW(0, a0, b0) ROW(1, a1, b1) ROW(2, a2, b2) ROW(3, a3, b3)
            ROW(4, a4, b4) ROW(5, a5, b5) ROW(6, a6, b6) ROW(7, a7, b7)
#undef ROW
        }
#if I_BUNDLE_ROWS == 16
        if (rows == 16) {
            i_store_bundle16(sums, head->row, a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4,
                             b5, b6, b7);
            continue;
        }
#endif
        i_store_bundle(sums, head->row, rows, a0, a1, a2, a3, a4, a5, a6, a7);
        if (lanes == 2) i_store_bundle(others, head->row, rows, b0, b1, b2, b3, b4, b5, b6, b7);
    }
}

/* With the windows, too, as a constant. */
SHAPED void strips_of(unsigned group, const csbrnn_section *s, const unsigned char *image,
                      stretch at, integer_lane lane) {
    if (s->windows == 8) strips_int8(group, 8, s, image, at, lane);
    else if (s->windows == 4) strips_int8(group, 4, s, image, at, lane);
    else strips_int8(group, 2, s, image, at, lane);
}
SHAPED void bundles_of(unsigned rows, unsigned lanes, uint32_t first, const csbrnn_section *s,
                       const unsigned char *image, stretch at, integer_lane one,
                       integer_lane other) {
    if (s->windows == 8) bundles_int8(rows, 8, lanes, first, s, image, at, one, other);
    else if (s->windows == 4) bundles_int8(rows, 4, lanes, first, s, image, at, one, other);
    else bundles_int8(rows, 2, lanes, first, s, image, at, one, other);
}

/* Panels of four strips alternate tile by tile, up to three strips follow. */
static inline void dense_int8(unsigned lanes, const csbrnn_section *s, stretch at,
                              integer_lane one, integer_lane other) {
    const int8_t *w = at.w;
    const size_t tiles = ((size_t)s->source_length + 3) / 4;
    uint32_t k = at.first, row = s->row + 16 * at.first;
    for (; k + 4 <= at.last; k += 4, row += 64) {
        const uint32_t rows[4] = {row, row + 16, row + 32, row + 48};
        const unsigned group = 16;
        isum a = isum_zero(), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
        for (size_t t = 0; t < tiles; t++, w += 256) {
            const uint8_t *x = one.x + 4 * t, *y = other.x + 4 * t;
            QUAD_TILE(isum_dot, 0, a, b, c, d, x, x, x, x);
            if (lanes == 2) QUAD_TILE(isum_dot, 0, e, f, g, h, y, y, y, y);
        }
        i_store_quad(one.sums, rows, group, a, b, c, d);
        if (lanes == 2) i_store_quad(other.sums, rows, group, e, f, g, h);
    }
    for (; k < at.last; k++, row += 16) {
        isum a = isum_zero(), b = a;
        for (size_t t = 0; t < tiles; t++, w += 64) {
            a = isum_dot(a, w, 16, one.x + 4 * t);
            if (lanes == 2) b = isum_dot(b, w, 16, other.x + 4 * t);
        }
        isum_store(one.sums + row, a);
        if (lanes == 2) isum_store(other.sums + row, b);
    }
}

/* Operands are found so many blocks before they are multiplied: their way through memory takes
 * longer than a processor looks ahead (measured on Zen 4: SR in 28.1 us for 29.0). */
#define BLOCKS_AHEAD 2u

/* Blocks of one class, `rows` (a multiple of 4 up to 32), whose masks reach over `windows` runs of
 * 16 rows: see blocks() of kernels_sections.h. */
SHAPED void blocks_int8(unsigned rows, unsigned windows, const csbrnn_section *s,
                        const unsigned char *image, stretch at, integer_lane lane) {
    const csbrnn_int8_block *head = CSBRNN_ARRAY(csbrnn_int8_block, image, s->heads) + at.first;
    const int8_t *w = at.w;
    const unsigned full = rows / 16, rest = rows % 16;
    const uint32_t count = at.last - at.first;
    uint8_t operands[2 * BLOCKS_AHEAD][64] = {{0}};
#define FIND(k, of) i_compress(operands[k], lane.x + (of)->column, (of)->columns)
    for (uint32_t k = 0; k < BLOCKS_AHEAD && k < count; k++) FIND(k, head + k);
    for (uint32_t k = 0; k < count; k++, head++) {
        isum a = isum_zero(), b = a, c = a, d = a;
        const csbrnn_int8_block *later = k + BLOCKS_AHEAD < count ? head + BLOCKS_AHEAD : head;
        FIND((k + BLOCKS_AHEAD) % (2 * BLOCKS_AHEAD), later);
        const uint8_t *operand = operands[k % (2 * BLOCKS_AHEAD)];
        const size_t n = count_bits(head->columns);
        if (full == 2)
            for (size_t t = 0; t < n; t += 4, w += 128) {
                a = isum_dot(a, w, 16, operand + t);
                b = isum_dot(b, w + 64, 16, operand + t);
            }
        if (full == 1)
            for (size_t t = 0; t < n; t += 4, w += 64) a = isum_dot(a, w, 16, operand + t);
        if (rest & 8)
            for (size_t t = 0; t < n; t += 8, w += 64) c = isum_dot(c, w, 8, operand + t);
        if (rest & 4)
            for (size_t t = 0; t < n; t += 16, w += 64) d = isum_dot(d, w, 4, operand + t);
        i_scatter(lane.sums + head->row, head->rows, windows, rows, a, b, c, d);
    }
#undef FIND
}

/* Windows are a constant where blocks are 64 rows high: unrolled, a block takes 2 cycles of 30 less. */
SHAPED void blocks_of(unsigned rows, const csbrnn_section *s, const unsigned char *image,
                      stretch at, integer_lane lane) {
    if (s->windows == 4) blocks_int8(rows, 4, s, image, at, lane);
    else blocks_int8(rows, s->windows, s, image, at, lane);
}

/* (scale * scales) * sums: rows of a product. */
static inline vf scaled_rows(float scale, vf scales, vf sums) {
    vf p = v_mul(v_mul(v_set1(scale), scales), sums);
    v_opaque(&p); /* or the compiler might fuse what follows into the multiplication */
    return p;
}

/* y += the product. */
static inline void scale_sums(float *y, int32_t *sums, const csbrnn_section *s,
                              const unsigned char *image, float scale, int clear) {
    const int32_t *offsets = CSBRNN_ARRAY(int32_t, image, s->heads);
    const float *scales = CSBRNN_ARRAY(float, image, s->values);
    for (size_t r = 0; r < s->count; r += VL) {
        vf p = scaled_rows(scale, v_load(scales + r), i_take(sums + r, offsets + r, VL, clear));
        v_store(y + r, v_add(v_load(y + r), p));
    }
}

static inline void scale_rows(float *y, int32_t *sums, const csbrnn_section *s,
                              const unsigned char *image, float scale) {
    if (s->windows) scale_sums(y, sums, s, image, scale, 1);
    else scale_sums(y, sums, s, image, scale, 0);
}

/* Each shape in a function of its own: of all in one, gcc 12 makes slower code for each (measured on
 * Zen 4: 3% with strips of 16 rows, 9% with free rows). */
#ifdef __GNUC__
#define APART static __attribute__((noinline)) void
#else
#define APART static void
#endif
#define FOR_EACH_STRIP(do) do(16) do(8)
#define FOR_EACH_BUNDLE(do) do(8) do(4) do(2) do(1) /* 16: below */
#define FOR_EACH_BLOCK(do) do(4) do(8) do(12) do(16) do(20) do(24) do(28) do(32)

#define OF_STRIPS(group)                                                            \
    APART strips_##group(const csbrnn_section *s, const unsigned char *image,       \
                         stretch at, integer_lane lane) {                           \
        strips_of(group, s, image, at, lane);                                       \
    }
#define OF_BUNDLES(rows)                                                            \
    APART bundles_##rows(uint32_t first, const csbrnn_section *s,                   \
                         const unsigned char *image, stretch at, integer_lane lane) { \
        bundles_of(rows, 1, first, s, image, at, lane, lane);                       \
    }
#define OF_BLOCKS(rows)                                                             \
    APART blocks_##rows(const csbrnn_section *s, const unsigned char *image,        \
                        stretch at, integer_lane lane) {                            \
        blocks_of(rows, s, image, at, lane);                                        \
    }
FOR_EACH_STRIP(OF_STRIPS)
FOR_EACH_BUNDLE(OF_BUNDLES)
FOR_EACH_BLOCK(OF_BLOCKS)

/* Where 16 rows' sums are more than there are registers, 8 rows at a time: the upper ones first. What
 * a short strip stores beyond its rows, the strip that these belong to overwrites then, even where
 * that one is in the same bundle. */
#if I_BUNDLE_ROWS == 16
OF_BUNDLES(16)
#else
static void bundles_16(uint32_t first, const csbrnn_section *s, const unsigned char *image,
                       stretch at, integer_lane lane) {
    bundles_8(first + 8, s, image, at, lane);
    bundles_8(first, s, image, at, lane);
}
#endif

/* Sums of a section's weights, for one lane. */
static void sum_int8(const csbrnn_section *s, const unsigned char *image, stretch at,
                     integer_lane lane) {
    switch (s->kind * 64u + s->group) {
        case CSBRNN_DENSE * 64 + 16: dense_int8(1, s, at, lane, lane); break;
        case CSBRNN_STRIPS * 64 + 16: strips_16(s, image, at, lane); break;
        case CSBRNN_STRIPS * 64 + 8: strips_8(s, image, at, lane); break;
        case CSBRNN_BUNDLES * 64 + 16: bundles_16(0, s, image, at, lane); break;
        case CSBRNN_BUNDLES * 64 + 8: bundles_8(0, s, image, at, lane); break;
        case CSBRNN_BUNDLES * 64 + 4: bundles_4(0, s, image, at, lane); break;
        case CSBRNN_BUNDLES * 64 + 2: bundles_2(0, s, image, at, lane); break;
        case CSBRNN_BUNDLES * 64 + 1: bundles_1(0, s, image, at, lane); break;
        case CSBRNN_BLOCKS * 64 + 4: blocks_4(s, image, at, lane); break;
        case CSBRNN_BLOCKS * 64 + 8: blocks_8(s, image, at, lane); break;
        case CSBRNN_BLOCKS * 64 + 12: blocks_12(s, image, at, lane); break;
        case CSBRNN_BLOCKS * 64 + 16: blocks_16(s, image, at, lane); break;
        case CSBRNN_BLOCKS * 64 + 20: blocks_20(s, image, at, lane); break;
        case CSBRNN_BLOCKS * 64 + 24: blocks_24(s, image, at, lane); break;
        case CSBRNN_BLOCKS * 64 + 28: blocks_28(s, image, at, lane); break;
        case CSBRNN_BLOCKS * 64 + 32: blocks_32(s, image, at, lane); break;
        default: break; /* csbrnn_image_check lets nothing else through */
    }
}

/* Adds a section's share to y, or leaves it in the sums. */
static void product_int8(const csbrnn_frame *frame, float *y, const csbrnn_section *s) {
    const integer_lane lane = integer_lane_of(s, frame->memory);
    if (s->kind == CSBRNN_SCALE)
        scale_rows(y, lane.sums, s, frame->image, frame->memory[s->source]);
    else sum_int8(s, frame->image, all_of(s, frame->image), lane);
}

#if CSBRNN_HAS_MANY
#define OF_BUNDLE_PAIRS(rows)                                                       \
    APART bundles_##rows##_pair(uint32_t first, const csbrnn_section *s,            \
                                const unsigned char *image, stretch at,             \
                                integer_lane one, integer_lane other) {             \
        bundles_of(rows, 2, first, s, image, at, one, other);                       \
    }
FOR_EACH_BUNDLE(OF_BUNDLE_PAIRS)
#undef OF_BUNDLE_PAIRS

/* The same for two lanes. With quads that takes as long as one after the other, for their operands are
 * what takes time; with blocks and 16 rows in one pass there are not the registers. */
static void sum_pair_int8(const csbrnn_section *s, const unsigned char *image, stretch at,
                          integer_lane one, integer_lane other) {
    switch (s->kind * 64u + s->group) {
        case CSBRNN_DENSE * 64 + 16: dense_int8(2, s, at, one, other); break;
#if I_BUNDLE_ROWS != 16
        case CSBRNN_BUNDLES * 64 + 16:
            bundles_8_pair(8, s, image, at, one, other); /* as in bundles_16 */
            bundles_8_pair(0, s, image, at, one, other);
            break;
#endif
        case CSBRNN_BUNDLES * 64 + 8: bundles_8_pair(0, s, image, at, one, other); break;
        case CSBRNN_BUNDLES * 64 + 4: bundles_4_pair(0, s, image, at, one, other); break;
        case CSBRNN_BUNDLES * 64 + 2: bundles_2_pair(0, s, image, at, one, other); break;
        case CSBRNN_BUNDLES * 64 + 1: bundles_1_pair(0, s, image, at, one, other); break;
        default: sum_int8(s, image, at, one); sum_int8(s, image, at, other); break;
    }
}

/* Weights that stay in a first-level cache while all lanes pass through them, beside operands and
 * sums; the last of a stretch may reach beyond. */
#define STRETCH_NBYTES (16 << 10)

/* The stretch that follows another one. */
static stretch next_stretch(const csbrnn_section *s, const unsigned char *image, stretch at) {
    at.first = at.last;
    at.w = at.w_end;
    at.line = at.line_end;
    do {
        const uint32_t k = at.last++;
        size_t tiles, lines = 0;
        if (s->kind == CSBRNN_DENSE) { /* which has no heads: what `heads` says was not checked */
            tiles = ((size_t)s->source_length + 3) / 4;
        } else if (s->kind == CSBRNN_STRIPS) {
            const uint32_t each = CSBRNN_ARRAY(csbrnn_quad_head, image, s->heads)[k].tiles;
            const size_t line_tiles = s->group / 4u; /* of each strip of a quad */
            tiles = 4 * (size_t)each;
            lines = (each + line_tiles - 1) / line_tiles;
        } else if (s->kind == CSBRNN_BUNDLES) {
            lines = CSBRNN_ARRAY(csbrnn_bundle_head, image, s->heads)[k].lines;
            tiles = lines * s->group;
        } else {
            const csbrnn_int8_block *block = CSBRNN_ARRAY(csbrnn_int8_block, image, s->heads) + k;
            tiles = csbrnn_int8_block_tiles(s->group, count_bits(block->columns));
        }
        at.w_end += 64 * tiles;
        at.line_end += lines;
        /* Of dense strips, four alternate. */
    } while (at.last < s->count && (at.w_end - at.w < STRETCH_NBYTES ||
                                    (s->kind == CSBRNN_DENSE && (at.last - at.first) % 4)));
    return at;
}

/* Sums of a section's weights, for the memories of all lanes. */
static void sum_lanes_int8(const csbrnn_section *s, const unsigned char *image,
                           float *const *lanes, size_t count) {
    stretch at = {0, 0, NULL, CSBRNN_ARRAY(int8_t, image, s->values), 0, 0};
    while (at.last < s->count) {
        at = next_stretch(s, image, at);
        for (size_t l = 0; l < count; l += 2) {
            const integer_lane one = integer_lane_of(s, lanes[l]);
            if (l + 1 == count) sum_int8(s, image, at, one);
            else sum_pair_int8(s, image, at, one, integer_lane_of(s, lanes[l + 1]));
        }
    }
}
#endif

#undef FOR_EACH_STRIP
#undef FOR_EACH_BUNDLE
#undef FOR_EACH_BLOCK
#undef OF_STRIPS
#undef OF_BUNDLES
#undef OF_BLOCKS
#undef APART

#endif
