/* Bundles of weights in one number format, for one vector or for several: included by
 * kernels_product.h and kernels_many.h once for each, as kernels_sections.h is. */

/* y += one bundle: sixteen strips of up to 8 rows. A line finds the next two operands of every strip;
 * each of its tiles has one row of them all. So a lane belongs to one strip, and what a look-up costs
 * is shared by a strip's rows. */
static inline void NAMED(bundle)(unsigned group, unsigned windows, const csbrnn_bundle_head *head,
                                 const uint16_t *numbers, const uint16_t *start,
                                 const WEIGHT *values, const float *x, float *y) {
    float sums[8][CSBRNN_STRIP] = {{0}};
    for (unsigned p = 0; p < PIECES; p++) {
        const vf zero = v_set1(0.0f);
        vf a = zero, b = zero, c = zero, d = zero, e = zero, f = zero, g = zero, h = zero;
        const uint16_t *n = numbers + p * VL;
        const WEIGHT *w = values;
        for (uint32_t l = 0; l < head->lines; l++, n += CSBRNN_STRIP, w += group * 32) {
            vf x0, x1, w0, w1;
            v_lookup(&x0, &x1, x + start[l], n, windows);
            /* One sum a row, column by column: which of a line's two places a column has, and so the
             * order of two sums, depends on the other strips. */
#define ROW(r, sum)                            \
    if (group > (r)) {                         \
        LOAD_PAIRS(&w0, &w1, w + (r) * 32, p); \
        sum = v_fma(w0, x0, sum);              \
        sum = v_fma(w1, x1, sum);              \
    }
            ROW(0, a) ROW(1, b) ROW(2, c) ROW(3, d) ROW(4, e) ROW(5, f) ROW(6, g) ROW(7, h)
#undef ROW
        }
#define ROW(r, sum) if (group > (r)) v_store(sums[r] + p * VL, sum);
        ROW(0, a) ROW(1, b) ROW(2, c) ROW(3, d) ROW(4, e) ROW(5, f) ROW(6, g) ROW(7, h)
#undef ROW
    }
    add_bundle(y, head->row, group, (const float(*)[CSBRNN_STRIP])sums);
}

/* Its windows, too, as a constant, where they matter. */
static inline void NAMED(bundle_of)(unsigned group, unsigned windows, const csbrnn_bundle_head *head,
                                    const uint16_t *numbers, const uint16_t *start,
                                    const WEIGHT *values, const float *x, float *y) {
    if (VL != 16 || windows == 4) NAMED(bundle)(group, 4, head, numbers, start, values, x, y);
    else NAMED(bundle)(group, 8, head, numbers, start, values, x, y);
}

/* A section, for the memories of `count` lanes: bundle by bundle, whose weights stay in the
 * first-level cache from lane to lane. */
static inline void NAMED(bundles_many)(unsigned group, const csbrnn_section *s,
                                       const unsigned char *image, uint32_t destination,
                                       float *const *lanes, size_t count) {
    const csbrnn_bundle_head *head = CSBRNN_ARRAY(csbrnn_bundle_head, image, s->heads);
    const uint16_t *numbers = CSBRNN_ARRAY(uint16_t, image, s->indices);
    const uint16_t *start = csbrnn_line_starts(s, image);
    const WEIGHT *values = CSBRNN_ARRAY(WEIGHT, image, s->values);
    for (uint32_t k = 0; k < s->count; k++, head++) {
        for (size_t l = 0; l < count; l++)
            NAMED(bundle_of)(group, s->windows, head, numbers, start, values,
                             lanes[l] + s->source, lanes[l] + destination);
        numbers += (size_t)head->lines * CSBRNN_STRIP;
        start += head->lines;
        values += (size_t)head->lines * group * 32;
    }
}
