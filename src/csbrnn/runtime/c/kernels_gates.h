/* Gates of LSTM and GRU: from vectors, and straight from the sums of int8 products.
 *
 * The second way spares writing the gates' vectors and reading them again, and scales and biases,
 * in the order in which it needs them, come in while it computes. Its bits are those of the first. */
#ifndef CSBRNN_KERNELS_GATES_H
#define CSBRNN_KERNELS_GATES_H

static inline void lstm_cell(float *h, float *c, vf i, vf f, vf g, vf o, size_t n) {
    vf next = v_fma(v_sigmoid(f), load_n(c, n), v_sigmoid_tanh(i, g));
    store_n(c, next, n);
    store_n(h, v_sigmoid_tanh(o, next), n);
}

static inline void gru_cell(float *h, vf r, vf z, vf from_x, vf from_h, size_t n) {
    vf candidate = v_tanh(v_fma(v_sigmoid(r), from_h, from_x));
    z = v_sigmoid(z);
    /* (1 - z) n + z h = n + z (h - n), but with both weights in 0 .. 1 */
    vf keep = v_mul(z, load_n(h, n));
    store_n(h, v_fma(v_sub(v_set1(1.0f), z), candidate, keep), n);
}

static void lstm(const csbrnn_frame *frame, const csbrnn_instruction *in, size_t first,
                 size_t last) {
    const float *gates = csbrnn_at(frame, in->a);
    float *c = frame->memory + in->b, *h = frame->memory + in->c;
    const size_t length = in->length;
#define GATE(j, k, n) load_n(gates + (j) * length + (k), n)
#define BODY(k, n)                                                                            \
    lstm_cell(h + (k), c + (k), GATE(0, k, n), GATE(1, k, n), GATE(2, k, n), GATE(3, k, n), n)
    FOR_VECTORS(first, last, BODY);
#undef BODY
#undef GATE
}

static void gru(const csbrnn_frame *frame, const csbrnn_instruction *in, size_t first,
                size_t last) {
    const float *gates = csbrnn_at(frame, in->a), *from_x = csbrnn_at(frame, in->b);
    const float *from_h = csbrnn_at(frame, in->c);
    float *h = frame->memory + in->d;
    const size_t length = in->length;
#define BODY(k, n)                                                                       \
    gru_cell(h + (k), load_n(gates + (k), n), load_n(gates + length + (k), n),           \
             load_n(from_x + (k), n), load_n(from_h + (k), n), n)
    FOR_VECTORS(first, last, BODY);
#undef BODY
}

/* A product that is still integers, and its operand's scale. */
typedef struct {
    int32_t *sums;
    float scale;
} unscaled;

static inline unscaled unscaled_of(const csbrnn_frame *frame, const csbrnn_section *s) {
    const unscaled u = {(int32_t *)(void *)(frame->memory + s->sums), frame->memory[s->source]};
    return u;
}

/* Constants of 16 units come in lines of 16: image.h says which. */
#define LINES(count) (16u * (count))
#define ONE 3u /* lines of a gate of one product: bias, what the product takes off, scales */
#define TWO 5u

/* Of n rows from `row` on, up to VL: the product, scaled. `lines` has what it takes off and the
 * rows' scales; the sums become zero. */
static inline vf scaled(unscaled u, const float *lines, size_t row, size_t n) {
    return scaled_rows(u.scale, v_load(lines + LINES(1)),
                       i_take(u.sums + row, (const int32_t *)(const void *)lines, n));
}

/* The same with the bias, whose line comes first: a row of one product, or of two. */
static inline vf gate_of_one(unscaled u, const float *lines, size_t row, size_t n) {
    return v_add(v_load(lines), scaled(u, lines + LINES(1), row, n));
}
static inline vf gate_of_two(unscaled u, unscaled v, const float *lines, size_t row, size_t n) {
    return v_add(gate_of_one(u, lines, row, n), scaled(v, lines + LINES(ONE), row, n));
}

/* Units of one part's span, whose rows follow one another gate by gate in the part's own sums. */
static void lstm_sums(const csbrnn_frame *frame, const csbrnn_instruction *in,
                      const csbrnn_span *span, const csbrnn_section *terms) {
    const float *constants = CSBRNN_ARRAY(float, frame->image, in->offset);
    float *c = frame->memory + in->b, *h = frame->memory + in->c;
    const size_t first = span->row, units = span->rows;
    const unscaled x = unscaled_of(frame, terms), s = unscaled_of(frame, terms + 1);
#define OF(k) (constants + (k) / 16 * LINES(CSBRNN_LSTM_LINES) + (k) % 16)
#define GATE(j, k, n) gate_of_two(x, s, OF(k) + LINES((j) * TWO), (j) * units + (k) - first, n)
#define BODY(k, n)                                                                            \
    lstm_cell(h + (k), c + (k), GATE(0, k, n), GATE(1, k, n), GATE(2, k, n), GATE(3, k, n), n)
    FOR_VECTORS(first, first + units, BODY);
#undef BODY
#undef GATE
#undef OF
}

static void gru_sums(const csbrnn_frame *frame, const csbrnn_instruction *in,
                     const csbrnn_span *span, const csbrnn_section *terms) {
    const float *constants = CSBRNN_ARRAY(float, frame->image, in->offset);
    float *h = frame->memory + in->d;
    const size_t first = span->row, units = span->rows;
    const unscaled x = unscaled_of(frame, terms), s = unscaled_of(frame, terms + 1);
    const unscaled nx = unscaled_of(frame, terms + 2), nh = unscaled_of(frame, terms + 3);
#define OF(k) (constants + (k) / 16 * LINES(CSBRNN_GRU_LINES) + (k) % 16)
#define BODY(k, n)                                                                            \
    gru_cell(h + (k), gate_of_two(x, s, OF(k), (k) - first, n),                               \
             gate_of_two(x, s, OF(k) + LINES(TWO), units + (k) - first, n),                   \
             gate_of_one(nx, OF(k) + LINES(2 * TWO), (k) - first, n),                         \
             gate_of_one(nh, OF(k) + LINES(2 * TWO + ONE), (k) - first, n), n)
    FOR_VECTORS(first, first + units, BODY);
#undef BODY
#undef OF
}

#undef LINES
#undef ONE
#undef TWO

#endif
