/* y (+)= bias + W x over one span of rows: dense strips, sparse strips and blocks.
 *
 * Weights come in tiles of 16 floats, one cache line, read once and in order: the product is bound
 * by how fast they can be read, so all else is arranged to keep up with memory. A tile is G rows
 * by 16 / G columns. Whatever the width of a vector, a tile's lanes meet their operand through
 * v_spread16/8/4; lanes of one row but of different columns are only summed when a strip ends.
 */
#ifndef CSBRNN_KERNELS_PRODUCT_H
#define CSBRNN_KERNELS_PRODUCT_H

#define PIECES (CSBRNN_STRIP / VL) /* vectors a tile */
/* Sums in flight, to hide the latency of a fused multiply-add (4 cycles, two a cycle: 8 chains).
 * Narrow vectors have chains enough in one tile. */
#define CHAINS (VL == 16 ? 4 : VL == 8 ? 2 : 1)
/* Dense strips computed together, so that an operand is broadcast once for all of them; bounded by
 * the registers (4 x 1 zmm of 32, 2 x 2 ymm of 16, 1 x 4 xmm of 16), with two columns in flight. */
#define DENSE_STRIPS (VL == 16 ? 4u : VL == 8 ? 2u : 1u)

typedef struct { vf piece[PIECES]; } tile;

static inline tile tile_zero(void) {
    tile t;
    for (unsigned p = 0; p < PIECES; p++) t.piece[p] = v_set1(0.0f);
    return t;
}

/* sum + a tile of `group` rows times its operand; `c` packs its columns' numbers. */
static inline tile tile_fma(tile sum, const float *values, unsigned group, const float *x,
                            uint64_t c) {
    for (unsigned p = 0; p < PIECES; p++) {
        vf operand = group == 16  ? v_set1(x[c & 0xffff])
                     : group == 8 ? v_spread8(x, (uint32_t)c, p)
                                  : v_spread4(x, c, p);
        sum.piece[p] = v_fma(v_load(values + p * VL), operand, sum.piece[p]);
    }
    return sum;
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

/* Sum of `tiles` tiles times their operands. The sums are four variables and not an array, which
 * gcc would keep in memory: twice the time. */
static inline tile tiles_sum(unsigned group, size_t tiles, const float *values, const float *x,
                             const uint16_t *columns) {
    const unsigned wide = CSBRNN_STRIP / group;
    tile a = tile_zero(), b = a, c = a, d = a;
    size_t t = 0;
#define ADD(sum, u) \
    sum = tile_fma(sum, values + (u) * CSBRNN_STRIP, group, x, tile_columns(columns, u, wide))
    for (; t + 4 <= tiles; t += 4, values += 4 * CSBRNN_STRIP, columns += 4 * wide) {
        if (CHAINS == 4) {
            ADD(a, 0); ADD(b, 1); ADD(c, 2); ADD(d, 3);
        } else if (CHAINS == 2) {
            ADD(a, 0); ADD(b, 1); ADD(a, 2); ADD(b, 3);
        } else {
            ADD(a, 0); ADD(a, 1); ADD(a, 2); ADD(a, 3);
        }
    }
#undef ADD
    for (; t < tiles; t++, values += CSBRNN_STRIP, columns += wide) {
        uint64_t last = 0;
        memcpy(&last, columns, 2 * wide);
        a = tile_fma(a, values, group, x, last);
    }
    if (CHAINS >= 2) a = tile_add(a, b);
    if (CHAINS == 4) a = tile_add(a, tile_add(c, d));
    return a;
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

static inline void strips(unsigned group, const csbrnn_section *s, const unsigned char *image,
                          const float *x, float *y) {
    const csbrnn_strip_head *head = (const void *)(image + s->heads);
    const uint16_t *columns = (const void *)(image + s->indices);
    const float *values = (const void *)(image + s->values);
    for (uint32_t k = 0; k < s->count; k++, head++) {
        tile sum = tiles_sum(group, head->tiles, values, x, columns);
        float *to = y + head->row;
#if VL == 16
        vf rows = group == 16  ? sum.piece[0]
                  : group == 8 ? v_fold8(sum.piece[0])
                               : v_fold4(sum.piece[0]);
        v_store_part(to, v_add(v_load_part(to, head->rows), rows), head->rows);
#else
        float rows[CSBRNN_STRIP];
        tile_rows(sum, group, rows);
        add_rows(to, rows, head->rows);
#endif
        columns += (size_t)head->tiles * (CSBRNN_STRIP / group);
        values += (size_t)head->tiles * CSBRNN_STRIP;
    }
}

/* Two columns, `step` floats apart, of a dense strip. */
static inline void dense_pair(tile *even, tile *odd, const float *values, size_t step, vf x0,
                              vf x1) {
    for (unsigned p = 0; p < PIECES; p++) {
        even->piece[p] = v_fma(v_load(values + p * VL), x0, even->piece[p]);
        odd->piece[p] = v_fma(v_load(values + step + p * VL), x1, odd->piece[p]);
    }
}

static inline void dense_store(float *y, tile even, tile odd, const float *last, vf x) {
    for (unsigned p = 0; p < PIECES; p++) {
        vf sum = v_add(even.piece[p], odd.piece[p]);
        if (last) sum = v_fma(v_load(last + p * VL), x, sum);
        v_store(y + p * VL, v_add(v_load(y + p * VL), sum));
    }
}

/* `count` (a constant, up to 4) neighbouring strips of 16 rows with every column. Sums are single
 * variables, as in tiles_sum. */
static inline void dense_strips(unsigned count, size_t columns, size_t step, const float *values,
                                const float *x, float *y) {
    tile a = tile_zero(), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
    const float *v = values;
    for (size_t k = columns / 2; k > 0; k--, x += 2, v += 2 * step) {
        vf x0 = v_set1(x[0]), x1 = v_set1(x[1]);
        dense_pair(&a, &b, v, step, x0, x1);
        if (count > 1) dense_pair(&c, &d, v + 16, step, x0, x1);
        if (count > 2) dense_pair(&e, &f, v + 32, step, x0, x1);
        if (count > 3) dense_pair(&g, &h, v + 48, step, x0, x1);
    }
    const int odd = columns % 2 != 0;
    vf last = odd ? v_set1(*x) : v_set1(0.0f);
    dense_store(y, a, b, odd ? v : NULL, last);
    if (count > 1) dense_store(y + 16, c, d, odd ? v + 16 : NULL, last);
    if (count > 2) dense_store(y + 32, e, f, odd ? v + 32 : NULL, last);
    if (count > 3) dense_store(y + 48, g, h, odd ? v + 48 : NULL, last);
}

/* Columns that are summed before they are added to y: rounding errors grow with the length of a
 * chain of additions, and a sum of sums has two short ones (measured: half the error in the logits
 * of an LSTM of 512 units). */
#define DENSE_SUM 128

static inline size_t dense_width(size_t columns, size_t first) {
    return columns - first < DENSE_SUM ? columns - first : DENSE_SUM;
}

/* Panels of four strips come interleaved, column by column, so that they are one stream of reads
 * (four streams reach two thirds of the L2 cache's bandwidth); up to three strips follow alone. */
static inline void dense(const csbrnn_section *s, const unsigned char *image, const float *x,
                         float *y) {
    const float *values = (const void *)(image + s->values);
    const size_t columns = s->columns, strip = columns * CSBRNN_STRIP;
    y += s->row;
    uint32_t k = 0;
    for (; k + 4 <= s->count; k += 4, values += 4 * strip)
        for (unsigned j = 0; j < 4; j += DENSE_STRIPS)
            for (size_t c = 0; c < columns; c += DENSE_SUM)
                dense_strips(DENSE_STRIPS, dense_width(columns, c), 64, values + c * 64 + j * 16,
                             x + c, y + (k + j) * 16);
    for (; k < s->count; k++, values += strip)
        for (size_t c = 0; c < columns; c += DENSE_SUM)
            dense_strips(1, dense_width(columns, c), 16, values + c * 16, x + c, y + k * 16);
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
        __m512i from = _mm512_maskz_expand_epi32(lanes, _mm512_loadu_si512(numbers + (done & 31u)));
        vf rows = two ? _mm512_permutex2var_ps(low, from, high)
                      : _mm512_permutexvar_ps(from, low);
        vf old = v_load(y + 16 * w);
        v_store(y + 16 * w, _mm512_mask_add_ps(old, lanes, old, rows));
    }
}
#else
static inline void scatter(const float *rows, uint64_t mask, float *y) {
    for (; mask; mask &= mask - 1) y[__builtin_ctzll(mask)] += *rows++;
}
#endif

/* Blocks of one class: up to `rows` rows (a constant, a multiple of 4 up to 32). They are sorted by
 * their number of columns, so that the trip counts below change seldom and are predicted. */
static inline void blocks(unsigned rows, const csbrnn_section *s, const unsigned char *image,
                          const float *x, float *y) {
    const csbrnn_block_head *head = (const void *)(image + s->heads);
    const uint16_t *columns = (const void *)(image + s->indices);
    const float *values = (const void *)(image + s->values);
    const unsigned full = rows / 16, rest = rows % 16;
    for (uint32_t k = 0; k < s->count; k++, head++) {
        const size_t n = head->columns;
        tile part[3] = {tile_zero(), tile_zero(), tile_zero()};
        unsigned parts = 0;
        if (full == 2) {
            tile odd[2] = {tile_zero(), tile_zero()};
            size_t c = 0;
            for (; c + 2 <= n; c += 2, values += 64) {
                part[0] = tile_fma(part[0], values, 16, x, columns[c]);
                part[1] = tile_fma(part[1], values + 16, 16, x, columns[c]);
                odd[0] = tile_fma(odd[0], values + 32, 16, x, columns[c + 1]);
                odd[1] = tile_fma(odd[1], values + 48, 16, x, columns[c + 1]);
            }
            if (c < n) {
                part[0] = tile_fma(part[0], values, 16, x, columns[c]);
                part[1] = tile_fma(part[1], values + 16, 16, x, columns[c]);
                values += 32;
            }
            part[0] = tile_add(part[0], odd[0]);
            part[1] = tile_add(part[1], odd[1]);
            parts = 2;
        } else if (full == 1) {
            part[parts++] = tiles_sum(16, n, values, x, columns);
            values += n * CSBRNN_STRIP;
        }
        if (rest & 8) {
            part[parts++] = tiles_sum(8, (n + 1) / 2, values, x, columns);
            values += (n + 1) / 2 * CSBRNN_STRIP;
        }
        if (rest & 4) {
            part[parts++] = tiles_sum(4, (n + 3) / 4, values, x, columns);
            values += (n + 3) / 4 * CSBRNN_STRIP;
        }
#if VL == 16
        vf tail = v_set1(0.0f);
        if (rest & 8) tail = v_fold8(part[full].piece[0]);
        if (rest & 4) {
            /* v_fold4 repeats the four rows in every quarter: a blend puts them in place. */
            vf four = v_fold4(part[parts - 1].piece[0]);
            tail = rest & 8 ? _mm512_mask_blend_ps(0x0f00, tail, four) : four;
        }
        vf low = full ? part[0].piece[0] : tail;
        vf high = full == 2 ? part[1].piece[0] : tail;
        scatter(low, high, rows > 16, head->mask, s->windows, y + head->row);
#else
        float packed[3 * CSBRNN_STRIP], *to = packed;
        for (unsigned f = 0; f < full; f++, to += 16) tile_rows(part[f], 16, to);
        if (rest & 8) tile_rows(part[full], 8, to), to += 8;
        if (rest & 4) tile_rows(part[parts - 1], 4, to);
        scatter(packed, head->mask, y + head->row);
#endif
        columns += csbrnn_index_stride(n);
    }
}

static void product(const csbrnn_frame *frame, const csbrnn_instruction *in,
                    const csbrnn_span *span, const csbrnn_section *section) {
    float *y = frame->memory + in->a;
    if (!(in->flags & CSBRNN_ACCUMULATE)) {
        /* Destination and bias are padded to whole strips. */
        size_t last = span->row + (((size_t)span->rows + 15u) & ~(size_t)15u);
        const float *bias = in->b == CSBRNN_NONE ? NULL : csbrnn_at(frame, in->b);
        for (size_t r = span->row; r < last; r += VL)
            v_store(y + r, bias ? v_load(bias + r) : v_set1(0.0f));
    }
    for (uint32_t k = 0; k < span->sections; k++, section++) {
        const float *x = frame->memory + section->source;
        const unsigned char *image = frame->image;
        switch (section->kind * 64u + section->group) {
            case CSBRNN_DENSE * 64 + 16: dense(section, image, x, y); break;
            case CSBRNN_STRIPS * 64 + 16: strips(16, section, image, x, y); break;
            case CSBRNN_STRIPS * 64 + 8: strips(8, section, image, x, y); break;
            case CSBRNN_STRIPS * 64 + 4: strips(4, section, image, x, y); break;
            case CSBRNN_BLOCKS * 64 + 4: blocks(4, section, image, x, y); break;
            case CSBRNN_BLOCKS * 64 + 8: blocks(8, section, image, x, y); break;
            case CSBRNN_BLOCKS * 64 + 12: blocks(12, section, image, x, y); break;
            case CSBRNN_BLOCKS * 64 + 16: blocks(16, section, image, x, y); break;
            case CSBRNN_BLOCKS * 64 + 20: blocks(20, section, image, x, y); break;
            case CSBRNN_BLOCKS * 64 + 24: blocks(24, section, image, x, y); break;
            case CSBRNN_BLOCKS * 64 + 28: blocks(28, section, image, x, y); break;
            case CSBRNN_BLOCKS * 64 + 32: blocks(32, section, image, x, y); break;
            default: break; /* csbrnn_image_check lets nothing else through */
        }
    }
}

#endif
