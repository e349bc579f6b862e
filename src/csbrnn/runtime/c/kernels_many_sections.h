/* Sections of weights in one number format, for several vectors: included by kernels_many.h once for
 * each, as kernels_sections.h is by kernels_product.h. PAIRED says whether strips of 16 rows are read
 * two tiles at a time, as they must be in bf16; in fp32 they lie the same either way. Of what is SHAPED and what is not, this choice was the fastest of five. */

SHAPED lanes_sum NAMED(lanes_fma)(lanes_sum s, unsigned lanes, unsigned group, unsigned piece,
                                  const WEIGHT *values, lanes_in x, uint64_t c) {
    return lanes_add_tile(s, lanes, group, piece, LOAD_WEIGHTS(values + piece * VL), x, c);
}

/* As tiles_sum, for each lane. */
static inline void NAMED(lanes_tiles)(unsigned group, int paired, unsigned lanes, size_t tiles,
                               const WEIGHT *values, lanes_in x, const uint16_t *columns,
                               tile *sums) {
    const unsigned wide = CSBRNN_STRIP / group;
    for (unsigned p = 0; p < PIECES; p++) {
        lanes_sum a = lanes_zero(), b = a, c = a, d = a;
        const WEIGHT *v = values;
        const uint16_t *i = columns;
        size_t t = 0;
        vf w0, w1;
#define ADD(sum, w, u) \
    sum = lanes_add_tile(sum, lanes, group, p, w, x, tile_columns(i, u, wide))
#define ADD_TWO(s, t, u)                                                    \
    if (paired) {                                                           \
        LOAD_PAIRS(&w0, &w1, v + (u) * CSBRNN_STRIP, p);                    \
        ADD(s, w0, u);                                                      \
        ADD(t, w1, u + 1);                                                  \
    } else {                                                                \
        ADD(s, LOAD_WEIGHTS(v + (u) * CSBRNN_STRIP + p * VL), u);           \
        ADD(t, LOAD_WEIGHTS(v + (u + 1) * CSBRNN_STRIP + p * VL), u + 1);   \
    }
        for (; t + 4 <= tiles; t += 4, v += 4 * CSBRNN_STRIP, i += 4 * wide) {
            if (CHAINS == 4) {
                ADD_TWO(a, b, 0) ADD_TWO(c, d, 2)
            } else if (CHAINS == 2) {
                ADD_TWO(a, b, 0) ADD_TWO(a, b, 2)
            } else {
                ADD_TWO(a, a, 0) ADD_TWO(a, a, 2)
            }
        }
#undef ADD_TWO
#undef ADD
        if (paired && t + 2 <= tiles) {
            LOAD_PAIRS(&w0, &w1, v, p);
            a = lanes_add_tile(a, lanes, group, p, w0, x, i[0]);
            a = lanes_add_tile(a, lanes, group, p, w1, x, i[1]);
            t += 2, v += 2 * CSBRNN_STRIP, i += 2;
        }
        for (; t < tiles; t++, v += CSBRNN_STRIP, i += wide) {
            uint64_t last = 0;
            memcpy(&last, i, 2 * wide);
            a = NAMED(lanes_fma)(a, lanes, group, p, v, x, last);
        }
        if (CHAINS >= 2) a = lanes_add(a, b);
        if (CHAINS == 4) a = lanes_add(a, lanes_add(c, d));
        keep_piece(sums, p, a);
    }
}

/* 16 of the 32 rows of blocks of that height: a tile every 32 floats, even and odd columns apart. */
SHAPED void NAMED(lanes_tall)(unsigned lanes, size_t n, const WEIGHT *values, lanes_in x,
                              const uint16_t *columns, tile *sums) {
    for (unsigned p = 0; p < PIECES; p++) {
        lanes_sum even = lanes_zero(), odd = even;
        const WEIGHT *v = values;
        size_t c = 0;
        for (; c + 2 <= n; c += 2, v += 64) {
            even = NAMED(lanes_fma)(even, lanes, 16, p, v, x, columns[c]);
            odd = NAMED(lanes_fma)(odd, lanes, 16, p, v + 32, x, columns[c + 1]);
        }
        if (c < n) even = NAMED(lanes_fma)(even, lanes, 16, p, v, x, columns[c]);
        keep_piece(sums, p, lanes_add(even, odd));
    }
}

static inline void NAMED(strips_lanes)(unsigned group, unsigned lanes, const csbrnn_strip_head *head,
                                uint32_t count, const WEIGHT *values, const uint16_t *columns,
                                lanes_in x, lanes_out y) {
    for (uint32_t k = 0; k < count; k++, head++) {
        tile sums[LANES];
        NAMED(lanes_tiles)(group, PAIRED && group == 16, lanes, head->tiles, values, x, columns, sums);
        for (unsigned l = 0; l < lanes && l < y.used; l++) {
            float *to = y.lane[l] + head->row;
#if VL == 16
            const vf sum = sums[l].piece[0];
            const vf rows = group == 16 ? sum : group == 8 ? v_fold8(sum) : v_fold4(sum);
            v_store_part(to, v_add(v_load_part(to, head->rows), rows), head->rows);
#else
            float rows[CSBRNN_STRIP];
            tile_rows(sums[l], group, rows);
            add_rows(to, rows, head->rows);
#endif
        }
        columns += (size_t)head->tiles * (CSBRNN_STRIP / group);
        values += (size_t)head->tiles * CSBRNN_STRIP;
    }
}

SHAPED void NAMED(blocks_lanes)(unsigned rows, unsigned lanes, unsigned windows,
                                const csbrnn_block_head *head, uint32_t count,
                                const WEIGHT *values, const uint16_t *columns, lanes_in x,
                                lanes_out y) {
    const unsigned full = rows / 16, rest = rows % 16;
    for (uint32_t k = 0; k < count; k++, head++) {
        const size_t n = head->columns;
        tile top[LANES], next[LANES], eight[LANES], four[LANES];
        const WEIGHT *v = values;
        if (full == 2) {
            NAMED(lanes_tall)(lanes, n, v, x, columns, top);
            NAMED(lanes_tall)(lanes, n, v + CSBRNN_STRIP, x, columns, next);
        } else if (full == 1) {
            NAMED(lanes_tiles)(16, 0, lanes, n, v, x, columns, top);
        }
        v += full * n * CSBRNN_STRIP;
        if (rest & 8) {
            NAMED(lanes_tiles)(8, 0, lanes, (n + 1) / 2, v, x, columns, eight);
            v += (n + 1) / 2 * CSBRNN_STRIP;
        }
        if (rest & 4) NAMED(lanes_tiles)(4, 0, lanes, (n + 3) / 4, v, x, columns, four);
        for (unsigned l = 0; l < lanes && l < y.used; l++) {
            float *to = y.lane[l] + head->row;
#if VL == 16
            vf tail = v_set1(0.0f);
            if (rest & 8) tail = v_fold8(eight[l].piece[0]);
            if (rest & 4) {
                const vf last = v_fold4(four[l].piece[0]);
                tail = rest & 8 ? _mm512_mask_blend_ps(0x0f00, tail, last) : last;
            }
            const vf low = full ? top[l].piece[0] : tail;
            const vf high = full == 2 ? next[l].piece[0] : tail;
            scatter(low, high, rows > 16, head->mask, windows, to);
#else
            float packed[3 * CSBRNN_STRIP], *at = packed;
            if (full) tile_rows(top[l], 16, at), at += 16;
            if (full == 2) tile_rows(next[l], 16, at), at += 16;
            if (rest & 8) tile_rows(eight[l], 8, at), at += 8;
            if (rest & 4) tile_rows(four[l], 4, at);
            (void)windows;
            scatter(packed, head->mask, to);
#endif
        }
        columns += csbrnn_index_stride(n);
        values += csbrnn_block_floats(rows, n);
    }
}

/* As dense_strips and dense_store, for DENSE_VECTORS or one vector of rows of each lane, from row
 * `row` on of the `rows` that lie interleaved. */
static inline void NAMED(dense_lanes)(unsigned vectors, unsigned lanes, unsigned row, unsigned rows,
                               size_t columns, const WEIGHT *values, lanes_in x, lanes_out y) {
    lanes_sum even = lanes_zero(), odd = even, even2 = even, odd2 = even;
    const WEIGHT *v = values + row / 16 * 32;
    vf w0, w1, v0 = v_set1(0.0f), v1 = v0;
#define COLUMN(sum, sum2, w, w2, at)                             \
    do {                                                         \
        const vf xa = v_set1(x.a[at]);                           \
        sum.a = v_fma(w, xa, sum.a);                             \
        if (vectors > 1) sum2.a = v_fma(w2, xa, sum2.a);         \
        if (lanes > 1) {                                         \
            const vf xb = v_set1(x.b[at]);                       \
            sum.b = v_fma(w, xb, sum.b);                         \
            if (vectors > 1) sum2.b = v_fma(w2, xb, sum2.b);     \
        }                                                        \
        if (lanes > 2) {                                         \
            const vf xc = v_set1(x.c[at]), xd = v_set1(x.d[at]); \
            sum.c = v_fma(w, xc, sum.c);                         \
            if (vectors > 1) sum2.c = v_fma(w2, xc, sum2.c);     \
            sum.d = v_fma(w, xd, sum.d);                         \
            if (vectors > 1) sum2.d = v_fma(w2, xd, sum2.d);     \
        }                                                        \
    } while (0)
    size_t k = 0;
    for (; k + 2 <= columns; k += 2, v += 2 * rows) {
        LOAD_PAIRS(&w0, &w1, v, row % 16 / VL);
        if (vectors > 1) LOAD_PAIRS(&v0, &v1, v + 32, 0); /* 16 rows a vector */
        COLUMN(even, even2, w0, v0, k);
        COLUMN(odd, odd2, w1, v1, k + 1);
    }
    even = lanes_add(even, odd);
    if (vectors > 1) even2 = lanes_add(even2, odd2);
    if (k < columns) {
        const WEIGHT *last = values + k * rows + row;
        w0 = LOAD_WEIGHTS(last);
        if (vectors > 1) v0 = LOAD_WEIGHTS(last + VL);
        COLUMN(even, even2, w0, v0, k);
    }
#undef COLUMN
    const vf first[LANES] = {even.a, even.b, even.c, even.d};
    const vf second[LANES] = {even2.a, even2.b, even2.c, even2.d};
    for (unsigned l = 0; l < lanes && l < y.used; l++) {
        float *to = y.lane[l];
        v_store(to, v_add(v_load(to), first[l]));
        if (vectors > 1) v_store(to + VL, v_add(v_load(to + VL), second[l]));
    }
}

static inline void NAMED(strips_many)(unsigned group, const csbrnn_section *s,
                               const unsigned char *image, uint32_t destination,
                               float *const *lanes, size_t count) {
    const csbrnn_strip_head *head = CSBRNN_ARRAY(csbrnn_strip_head, image, s->heads);
    const uint16_t *columns = CSBRNN_ARRAY(uint16_t, image, s->indices);
    const WEIGHT *values = CSBRNN_ARRAY(WEIGHT, image, s->values);
    for (uint32_t k = 0; k < s->count;) {
        uint32_t run = 0;
        size_t tiles = 0;
        do tiles += head[run++].tiles;
        while (k + run < s->count && tiles + head[run].tiles <= RUN_TILES);
        for (size_t l = 0; l < count; l += LANES) {
            const lanes_in x = operands(lanes, l, count, s->source);
            const lanes_out y = results(lanes, l, count, destination);
#define STRIPS(n, ...) NAMED(strips_lanes)(group, n, __VA_ARGS__)
            WITH_LANES(y.used, STRIPS, head, run, values, columns, x, y);
#undef STRIPS
        }
        columns += tiles * (CSBRNN_STRIP / group);
        values += tiles * CSBRNN_STRIP;
        head += run;
        k += run;
    }
}

static inline void NAMED(blocks_many)(unsigned rows, const csbrnn_section *s, const unsigned char *image,
                               uint32_t destination, float *const *lanes, size_t count) {
    const csbrnn_block_head *head = CSBRNN_ARRAY(csbrnn_block_head, image, s->heads);
    const uint16_t *columns = CSBRNN_ARRAY(uint16_t, image, s->indices);
    const WEIGHT *values = CSBRNN_ARRAY(WEIGHT, image, s->values);
    for (uint32_t k = 0; k < s->count;) {
        uint32_t run = 0;
        size_t floats = 0, indices = 0;
        do {
            floats += csbrnn_block_floats(rows, head[run].columns);
            indices += csbrnn_index_stride(head[run].columns);
            run++;
        } while (k + run < s->count &&
                 floats + csbrnn_block_floats(rows, head[run].columns) <= RUN_TILES * CSBRNN_STRIP);
        for (size_t l = 0; l < count; l += LANES) {
            const lanes_in x = operands(lanes, l, count, s->source);
            const lanes_out y = results(lanes, l, count, destination);
#define BLOCKS(n, ...) NAMED(blocks_lanes)(rows, n, __VA_ARGS__)
            WITH_LANES(y.used, BLOCKS, s->windows, head, run, values, columns, x, y);
#undef BLOCKS
        }
        columns += indices;
        values += floats;
        head += run;
        k += run;
    }
}

/* `rows` rows (a constant: 64 or 16) of which columns `c` .. are `values`, for all lanes. */
static inline void NAMED(dense_rows)(unsigned rows, size_t columns, const WEIGHT *values, uint32_t source,
                              uint32_t destination, float *const *lanes, size_t count) {
    const unsigned vectors = rows == 16 && VL == 16 ? 1 : DENSE_VECTORS;
    for (unsigned r = 0; r < rows; r += vectors * VL)
        for (size_t l = 0; l < count; l += LANES) {
            const lanes_in x = operands(lanes, l, count, source);
            const lanes_out y = results(lanes, l, count, destination + r);
#define DENSE(n, ...) NAMED(dense_lanes)(vectors, n, __VA_ARGS__)
            WITH_LANES(y.used, DENSE, r, rows, columns, values, x, y);
#undef DENSE
        }
}

static inline void NAMED(dense_many)(unsigned group, const csbrnn_section *s, const unsigned char *image,
                              uint32_t destination, float *const *lanes, size_t count) {
    const WEIGHT *values = CSBRNN_ARRAY(WEIGHT, image, s->values);
    const size_t columns = s->columns, strip = columns * CSBRNN_STRIP;
    uint32_t row = destination + s->row, k = 0;
    (void)group;
    for (; k + 4 <= s->count; k += 4, values += 4 * strip, row += 64)
        for (size_t c = 0; c < columns; c += DENSE_SUM)
            NAMED(dense_rows)(64, dense_columns(columns, c), values + c * 64, s->source + (uint32_t)c, row,
                       lanes, count);
    for (; k < s->count; k++, values += strip, row += 16)
        for (size_t c = 0; c < columns; c += DENSE_SUM)
            NAMED(dense_rows)(16, dense_columns(columns, c), values + c * 16, s->source + (uint32_t)c, row,
                       lanes, count);
}
