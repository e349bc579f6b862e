/* Products in int8: quantizing operands, sums in int32, and scaling.
 *
 * The sum of a whole row, over every section of one matrix, is exact; only then is it scaled. So
 * every instruction set and every tiling gives the same bits (docs/spec/precision.md).
 *
 * Operands are kept as q + I_OFFSET, 0 or 128 as the instruction set likes, and what that adds, the
 * offset times the sum of a row's weights, is taken off before scaling: those sums are part of the
 * image. Everything wraps modulo 2^32; the final sums are in range.
 */
#ifndef CSBRNN_KERNELS_INTEGER_H
#define CSBRNN_KERNELS_INTEGER_H

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

/* Columns of four strips out of the operand: strip s's into x[s], one after another. Writes up to
 * 16 bytes past each one's last. */
static inline void gather(const uint8_t *operand, const uint8_t *numbers, const csbrnn_line *line,
                          uint32_t lines, uint8_t *x0, uint8_t *x1, uint8_t *x2, uint8_t *x3) {
    for (; lines > 0; lines--, line++, numbers += 64) {
        i_gather(operand + line->start, numbers, x0, x1, x2, x3);
        x0 += line->count[0];
        x1 += line->count[1];
        x2 += line->count[2];
        x3 += line->count[3];
    }
}

/* Adds `tiles` tiles of each of four strips, times their operands, to the sums of their rows. */
static inline void quad(unsigned group, size_t tiles, const int8_t *w, const uint8_t *x0,
                        const uint8_t *x1, const uint8_t *x2, const uint8_t *x3, int32_t *sums,
                        const uint32_t *row) {
    isum a = isum_zero(), b = a, c = a, d = a;
    const size_t wide = 64 / group;
    for (size_t t = 0, k = 0; t < tiles; t++, k += wide, w += 256) {
        a = isum_dot(a, w, group, x0 + k);
        b = isum_dot(b, w + 64, group, x1 + k);
        c = isum_dot(c, w + 128, group, x2 + k);
        d = isum_dot(d, w + 192, group, x3 + k);
    }
    i_add_quad(sums, row, group, a, b, c, d);
}

#define GATHERED (CSBRNN_GATHER + 64u) /* and the last line's 16 bytes */

static inline void strips_int8(unsigned group, const csbrnn_section *s,
                               const unsigned char *image, const uint8_t *x, int32_t *sums) {
    uint8_t buffer[I_BUFFERS][4][GATHERED];
    const csbrnn_quad_head *head = (const void *)(image + s->heads);
    const uint8_t *numbers = image + s->indices;
    const csbrnn_line *line = (const void *)(numbers + 64 * (size_t)s->columns);
    const int8_t *w = (const void *)(image + s->values);
    if (s->count == 0) return;
    /* Padding meets zero weights, so any value will do, but some value it must be. The last quad is
     * the longest. */
    size_t longest = head[s->count - 1].tiles * (64u / group);
    for (unsigned k = 0; k < I_BUFFERS * 4; k++) memset(buffer[k / 4][k % 4], 0, longest);
    /* With two buffers, the next quad's columns are gathered before this one's are used: what is
     * stored has left for the cache by the time it is loaded, in other widths than it was stored
     * in. */
#define GATHER_NEXT(to, of)                                                                   \
    gather(x, numbers, line, (of)->lines, buffer[to][0], buffer[to][1], buffer[to][2],        \
           buffer[to][3]),                                                                    \
        numbers += 64 * (size_t)(of)->lines, line += (of)->lines
    if (I_BUFFERS == 2) GATHER_NEXT(0, head);
    for (uint32_t k = 0; k < s->count; k++, head++) {
        const unsigned now = I_BUFFERS == 2 ? k & 1 : 0;
        if (I_BUFFERS == 1) GATHER_NEXT(0, head);
        else if (k + 1 < s->count) GATHER_NEXT(1 - now, head + 1);
        quad(group, head->tiles, w, buffer[now][0], buffer[now][1], buffer[now][2],
             buffer[now][3], sums, head->row);
        w += (size_t)head->tiles * 256;
    }
#undef GATHER_NEXT
}

static inline void dense_int8(const csbrnn_section *s, const unsigned char *image,
                              const uint8_t *x, int32_t *sums) {
    const int8_t *w = (const void *)(image + s->values);
    const size_t tiles = ((size_t)s->source_length + 3) / 4;
    uint32_t k = 0, row = s->row;
    for (; k + 4 <= s->count; k += 4, row += 64, w += tiles * 256) {
        const uint32_t rows[4] = {row, row + 16, row + 32, row + 48};
        quad(16, tiles, w, x, x, x, x, sums, rows);
    }
    for (; k < s->count; k++, row += 16) {
        isum a = isum_zero();
        for (size_t t = 0; t < tiles; t++, w += 64) a = isum_dot(a, w, 16, x + 4 * t);
        i_add(sums + row, 16, a);
    }
}

/* Blocks of one class, `rows` (a multiple of 4 up to 32): see blocks() of kernels_product.h. */
static inline void blocks_int8(unsigned rows, const csbrnn_section *s, const unsigned char *image,
                               const uint8_t *x, int32_t *sums) {
    const csbrnn_int8_block *head = (const void *)(image + s->heads);
    const int8_t *w = (const void *)(image + s->values);
    const unsigned full = rows / 16, rest = rows % 16;
    uint8_t buffer[128] = {0};
    for (uint32_t k = 0; k < s->count; k++, head++) {
        isum a = isum_zero(), b = a, c = a, d = a;
        size_t n;
        const igathered g = i_compress(buffer, x + head->column, head->columns, &n);
        if (full == 2)
            for (size_t t = 0; t < n; t += 4, w += 128) {
                a = isum_dot_at(a, w, 16, g, t);
                b = isum_dot_at(b, w + 64, 16, g, t);
            }
        if (full == 1)
            for (size_t t = 0; t < n; t += 4, w += 64) a = isum_dot_at(a, w, 16, g, t);
        if (rest & 8)
            for (size_t t = 0; t < n; t += 8, w += 64) c = isum_dot_at(c, w, 8, g, t);
        if (rest & 4)
            for (size_t t = 0; t < n; t += 16, w += 64) d = isum_dot_at(d, w, 4, g, t);
        i_scatter(sums + head->row, head->rows, s->windows, rows, a, b, c, d);
    }
}

/* y += (scale * scales[row]) * (float) sum, and makes the sums zero, as the next product needs. */
static inline void scale_rows(float *y, int32_t *sums, const csbrnn_section *s,
                              const unsigned char *image, float scale) {
    const int32_t *offsets = (const void *)(image + s->heads);
    const float *scales = (const void *)(image + s->values);
    for (size_t r = 0; r < s->count; r += VL) {
        vf p = v_mul(v_mul(v_set1(scale), v_load(scales + r)), i_take(sums + r, offsets + r));
        v_opaque(&p); /* or the compiler might fuse what follows into the multiplication */
        v_store(y + r, v_add(v_load(y + r), p));
    }
}

static void product_int8(const csbrnn_frame *frame, float *y, const csbrnn_section *s) {
    const float *operand = frame->memory + s->source;
    const uint8_t *x = (const uint8_t *)(operand + 16) + s->column;
    int32_t *sums = (int32_t *)(void *)(frame->memory + s->sums);
    const unsigned char *image = frame->image;
    switch (s->kind * 64u + s->group) {
        case CSBRNN_DENSE * 64 + 16: dense_int8(s, image, x, sums); break;
        case CSBRNN_STRIPS * 64 + 16: strips_int8(16, s, image, x, sums); break;
        case CSBRNN_STRIPS * 64 + 8: strips_int8(8, s, image, x, sums); break;
        case CSBRNN_STRIPS * 64 + 4: strips_int8(4, s, image, x, sums); break;
        case CSBRNN_BLOCKS * 64 + 4: blocks_int8(4, s, image, x, sums); break;
        case CSBRNN_BLOCKS * 64 + 8: blocks_int8(8, s, image, x, sums); break;
        case CSBRNN_BLOCKS * 64 + 12: blocks_int8(12, s, image, x, sums); break;
        case CSBRNN_BLOCKS * 64 + 16: blocks_int8(16, s, image, x, sums); break;
        case CSBRNN_BLOCKS * 64 + 20: blocks_int8(20, s, image, x, sums); break;
        case CSBRNN_BLOCKS * 64 + 24: blocks_int8(24, s, image, x, sums); break;
        case CSBRNN_BLOCKS * 64 + 28: blocks_int8(28, s, image, x, sums); break;
        case CSBRNN_BLOCKS * 64 + 32: blocks_int8(32, s, image, x, sums); break;
        case CSBRNN_SCALE * 64 + 16: scale_rows(y, sums, s, image, *operand); break;
        default: break; /* csbrnn_image_check lets nothing else through */
    }
}

#endif
