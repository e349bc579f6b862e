/* Sections of weights in one number format: included by kernels_product.h once for each.
 *
 * WEIGHT is the type of a stored weight, LOAD_WEIGHTS makes a vector of floats of it, LOAD_PAIRS two
 * vectors of two tiles that lie together, and NAMED tells the functions of the formats apart. */

/* sum + a tile of `group` rows times its operand; `c` packs its columns' numbers. */
static inline tile NAMED(tile_fma)(tile sum, const WEIGHT *values, unsigned group,
                                   const float *x, uint64_t c) {
    for (unsigned p = 0; p < PIECES; p++) {
        vf operand = group == 16  ? v_set1(x[c & 0xffff])
                     : group == 8 ? v_spread8(x, (uint32_t)c, p)
                                  : v_spread4(x, c, p);
        sum.piece[p] = v_fma(LOAD_WEIGHTS(values + p * VL), operand, sum.piece[p]);
    }
    return sum;
}

/* The same of two tiles of 16 rows, of columns c and d, that lie together. */
static inline void NAMED(tiles_fma)(tile *a, tile *b, const WEIGHT *values, vf c, vf d) {
    for (unsigned p = 0; p < PIECES; p++) {
        vf v, w;
        LOAD_PAIRS(&v, &w, values, p);
        a->piece[p] = v_fma(v, c, a->piece[p]);
        b->piece[p] = v_fma(w, d, b->piece[p]);
    }
}

/* Sum of `tiles` tiles times their operands; those of 16 rows lie two by two if `paired`. The sums
 * are four variables and not an array, which gcc would keep in memory: twice the time. */
SHAPED tile NAMED(tiles_sum)(unsigned group, int paired, size_t tiles, const WEIGHT *values,
                             const float *x, const uint16_t *columns) {
    const unsigned wide = CSBRNN_STRIP / group;
    tile a = tile_zero(), b = a, c = a, d = a;
    size_t t = 0;
#define ADD(sum, u)                                                \
    sum = NAMED(tile_fma)(sum, values + (u) * CSBRNN_STRIP, group, x, \
                          tile_columns(columns, u, wide))
#define OPERAND(u) v_set1(x[tile_columns(columns, u, wide) & 0xffff])
#define ADD_TWO(s, t, u)                                                                       \
    if (paired) NAMED(tiles_fma)(&s, &t, values + (u) * CSBRNN_STRIP, OPERAND(u), OPERAND(u + 1)); \
    else { ADD(s, u); ADD(t, u + 1); }
    for (; t + 4 <= tiles; t += 4, values += 4 * CSBRNN_STRIP, columns += 4 * wide) {
        if (CHAINS == 4) {
            ADD_TWO(a, b, 0) ADD_TWO(c, d, 2)
        } else if (CHAINS == 2) {
            ADD_TWO(a, b, 0) ADD_TWO(a, b, 2)
        } else {
            ADD_TWO(a, a, 0) ADD_TWO(a, a, 2)
        }
    }
#undef ADD_TWO
#undef OPERAND
#undef ADD
    if (paired && t + 2 <= tiles) {
        NAMED(tiles_fma)(&a, &a, values, v_set1(x[columns[0]]), v_set1(x[columns[1]]));
        t += 2, values += 2 * CSBRNN_STRIP, columns += 2;
    }
    for (; t < tiles; t++, values += CSBRNN_STRIP, columns += wide) {
        uint64_t last = 0;
        memcpy(&last, columns, 2 * wide);
        a = NAMED(tile_fma)(a, values, group, x, last);
    }
    if (CHAINS >= 2) a = tile_add(a, b);
    if (CHAINS == 4) a = tile_add(a, tile_add(c, d));
    return a;
}

SHAPED void NAMED(strips)(unsigned group, const csbrnn_section *s, const unsigned char *image,
                          const float *x, float *y) {
    const csbrnn_strip_head *head = CSBRNN_ARRAY(csbrnn_strip_head, image, s->heads);
    const uint16_t *columns = CSBRNN_ARRAY(uint16_t, image, s->indices);
    const WEIGHT *values = CSBRNN_ARRAY(WEIGHT, image, s->values);
    for (uint32_t k = 0; k < s->count; k++, head++) {
        tile sum = NAMED(tiles_sum)(group, group == 16, head->tiles, values, x, columns);
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

static inline void NAMED(dense_store)(float *y, tile even, tile odd, const WEIGHT *last, vf x) {
    for (unsigned p = 0; p < PIECES; p++) {
        vf sum = v_add(even.piece[p], odd.piece[p]);
        if (last) sum = v_fma(LOAD_WEIGHTS(last + p * VL), x, sum);
        v_store(y + p * VL, v_add(v_load(y + p * VL), sum));
    }
}

/* `count` (a constant, up to 4) strips of 16 rows with every column, from strip `first` on of the
 * `strips` that lie interleaved. Sums are single variables, as in tiles_sum. */
static inline void NAMED(dense_strips)(unsigned count, unsigned first, unsigned strips,
                                       size_t columns, const WEIGHT *values, const float *x,
                                       float *y) {
    tile a = tile_zero(), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
    const WEIGHT *v = values + 32 * first, *last = values + 16 * (columns / 2 * 2 * strips + first);
    for (size_t k = columns / 2; k > 0; k--, x += 2, v += 32 * strips) {
        vf x0 = v_set1(x[0]), x1 = v_set1(x[1]);
        NAMED(tiles_fma)(&a, &b, v, x0, x1);
        if (count > 1) NAMED(tiles_fma)(&c, &d, v + 32, x0, x1);
        if (count > 2) NAMED(tiles_fma)(&e, &f, v + 64, x0, x1);
        if (count > 3) NAMED(tiles_fma)(&g, &h, v + 96, x0, x1);
    }
    const int odd = columns % 2 != 0;
    vf operand = odd ? v_set1(*x) : v_set1(0.0f);
    NAMED(dense_store)(y, a, b, odd ? last : NULL, operand);
    if (count > 1) NAMED(dense_store)(y + 16, c, d, odd ? last + 16 : NULL, operand);
    if (count > 2) NAMED(dense_store)(y + 32, e, f, odd ? last + 32 : NULL, operand);
    if (count > 3) NAMED(dense_store)(y + 48, g, h, odd ? last + 48 : NULL, operand);
}

static inline size_t NAMED(dense_width)(size_t columns, size_t first) {
    return columns - first < DENSE_SUM ? columns - first : DENSE_SUM;
}

/* Panels of four strips come interleaved, two columns at a time, so that they are one stream of reads
 * (four streams reach two thirds of the L2 cache's bandwidth); up to three strips follow alone. */
static inline void NAMED(dense)(const csbrnn_section *s, const unsigned char *image,
                                const float *x, float *y) {
    const WEIGHT *values = CSBRNN_ARRAY(WEIGHT, image, s->values);
    const size_t columns = s->columns, strip = columns * CSBRNN_STRIP;
    y += s->row;
    uint32_t k = 0;
    for (; k + 4 <= s->count; k += 4, values += 4 * strip)
        for (unsigned j = 0; j < 4; j += DENSE_STRIPS)
            for (size_t c = 0; c < columns; c += DENSE_SUM)
                NAMED(dense_strips)(DENSE_STRIPS, j, 4, NAMED(dense_width)(columns, c),
                                    values + c * 64, x + c, y + (k + j) * 16);
    for (; k < s->count; k++, values += strip)
        for (size_t c = 0; c < columns; c += DENSE_SUM)
            NAMED(dense_strips)(1, 0, 1, NAMED(dense_width)(columns, c), values + c * 16, x + c,
                                y + k * 16);
}

/* Blocks of one class: up to `rows` rows (a constant, a multiple of 4 up to 32). They are sorted by
 * their number of columns, so that the trip counts below change seldom and are predicted. */
SHAPED void NAMED(blocks)(unsigned rows, const csbrnn_section *s, const unsigned char *image,
                          const float *x, float *y) {
    const csbrnn_block_head *head = CSBRNN_ARRAY(csbrnn_block_head, image, s->heads);
    const uint16_t *columns = CSBRNN_ARRAY(uint16_t, image, s->indices);
    const WEIGHT *values = CSBRNN_ARRAY(WEIGHT, image, s->values);
    const unsigned full = rows / 16, rest = rows % 16;
    for (uint32_t k = 0; k < s->count; k++, head++) {
        const size_t n = head->columns;
        tile part[3] = {tile_zero(), tile_zero(), tile_zero()};
        unsigned parts = 0;
        if (full == 2) {
            tile odd[2] = {tile_zero(), tile_zero()};
            size_t c = 0;
            for (; c + 2 <= n; c += 2, values += 64) {
                part[0] = NAMED(tile_fma)(part[0], values, 16, x, columns[c]);
                part[1] = NAMED(tile_fma)(part[1], values + 16, 16, x, columns[c]);
                odd[0] = NAMED(tile_fma)(odd[0], values + 32, 16, x, columns[c + 1]);
                odd[1] = NAMED(tile_fma)(odd[1], values + 48, 16, x, columns[c + 1]);
            }
            if (c < n) {
                part[0] = NAMED(tile_fma)(part[0], values, 16, x, columns[c]);
                part[1] = NAMED(tile_fma)(part[1], values + 16, 16, x, columns[c]);
                values += 32;
            }
            part[0] = tile_add(part[0], odd[0]);
            part[1] = tile_add(part[1], odd[1]);
            parts = 2;
        } else if (full == 1) {
            part[parts++] = NAMED(tiles_sum)(16, 0, n, values, x, columns);
            values += n * CSBRNN_STRIP;
        }
        if (rest & 8) {
            part[parts++] = NAMED(tiles_sum)(8, 0, (n + 1) / 2, values, x, columns);
            values += (n + 1) / 2 * CSBRNN_STRIP;
        }
        if (rest & 4) {
            part[parts++] = NAMED(tiles_sum)(4, 0, (n + 3) / 4, values, x, columns);
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
