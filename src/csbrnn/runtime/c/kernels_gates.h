/* Gates of LSTM and GRU: from vectors, and straight from the sums of int8 products.
 *
 * The second way spares writing the gates' vectors and reading them again, and scales and biases,
 * in the order in which it needs them, come in while it computes. Its bits are those of the first.
 *
 * A unit is a chain of some 45 operations, each waiting for the one before: longer than what a
 * processor looks ahead. Cut in two, with some units between the halves, chains of several units
 * are under way at once (measured on Zen 4: 1024 units of an LSTM in 1.7 us for 2.0). */
#ifndef CSBRNN_KERNELS_GATES_H
#define CSBRNN_KERNELS_GATES_H

#define CHUNK_UNITS 128u

/* Chunk by chunk one body for all vectors, then the other. Chunks begin at multiples. */
#define FOR_CHUNKS(first, last, one, other)                                             \
    for (size_t begin = (first), end; begin < (last); begin = end) {                    \
        end = begin - begin % CHUNK_UNITS + CHUNK_UNITS;                                \
        if (end > (last)) end = (last);                                                 \
        FOR_VECTORS(begin, end, one);                                                   \
        FOR_VECTORS(begin, end, other);                                                 \
    }

/* c = sigmoid(f) c + sigmoid(i) tanh(g), over a common denominator. */
static inline void lstm_next(float *c, vf i, vf f, vf g, size_t n) {
    const vf m = v_tanh_numerator(g), forget = v_sigmoid_denominator(f);
    const vf input = v_mul(v_sigmoid_denominator(i), v_tanh_denominator(m));
    const vf numerator = v_fma(load_n(c, n), input, v_mul(m, forget));
    store_n(c, v_quotient(numerator, v_mul(forget, input)), n);
}

/* h = sigmoid(o) tanh(c) */
static inline void lstm_hidden(float *h, const float *c, vf o, size_t n) {
    const vf m = v_tanh_numerator(load_n(c, n));
    store_n(h, v_quotient(m, v_mul(v_sigmoid_denominator(o), v_tanh_denominator(m))), n);
}

static inline void gru_reset(float *to, vf r, vf from_x, vf from_h, size_t n) {
    store_n(to, v_fma(v_sigmoid(r), from_h, from_x), n);
}

/* h = (1 - sigmoid(z)) tanh(candidate) + sigmoid(z) h
 *   = (e^-z m + (2 - m) h) / ((1 + e^-z) (2 - m)) */
static inline void gru_hidden(float *h, const float *candidates, vf z, size_t n) {
    const vf m = v_tanh_numerator(load_n(candidates, n)), other = v_tanh_denominator(m);
    const vf e = v_exp_neg(z, V_CUT);
    const vf numerator = v_fma(e, m, v_mul(other, load_n(h, n)));
    store_n(h, v_quotient(numerator, v_mul(v_add(v_set1(1.0f), e), other)), n);
}

static void lstm(const csbrnn_frame *frame, const csbrnn_instruction *in, size_t first,
                 size_t last) {
    const float *gates = csbrnn_at(frame, in->a);
    float *c = frame->memory + in->b, *h = frame->memory + in->c;
    const size_t length = in->length;
#define GATE(j, k, n) load_n(gates + (j) * length + (k), n)
#define NEXT(k, n) lstm_next(c + (k), GATE(0, k, n), GATE(1, k, n), GATE(2, k, n), n)
#define HIDDEN(k, n) lstm_hidden(h + (k), c + (k), GATE(3, k, n), n)
    FOR_CHUNKS(first, last, NEXT, HIDDEN);
#undef NEXT
#undef HIDDEN
#undef GATE
}

static void gru(const csbrnn_frame *frame, const csbrnn_instruction *in, size_t first,
                size_t last) {
    const float *gates = csbrnn_at(frame, in->a), *from_x = csbrnn_at(frame, in->b);
    const float *from_h = csbrnn_at(frame, in->c);
    float *h = frame->memory + in->d;
    const size_t length = in->length;
    float candidates[CHUNK_UNITS];
#define RESET(k, n)                                                                \
    gru_reset(candidates + (k) % CHUNK_UNITS, load_n(gates + (k), n), load_n(from_x + (k), n), \
              load_n(from_h + (k), n), n)
#define HIDDEN(k, n) \
    gru_hidden(h + (k), candidates + (k) % CHUNK_UNITS, load_n(gates + length + (k), n), n)
    FOR_CHUNKS(first, last, RESET, HIDDEN);
#undef RESET
#undef HIDDEN
}

/* A product that is still integers, its operand's scale, and whether to leave zeros. */
typedef struct {
    int32_t *sums;
    float scale;
    int clear;
} unscaled;

static inline unscaled unscaled_of(const csbrnn_frame *frame, const csbrnn_section *s, int clear) {
    const unscaled u = {(int32_t *)(void *)(frame->memory + s->sums), frame->memory[s->source],
                        clear};
    return u;
}

/* Constants of 16 units come in lines of 16: image.h says which. */
#define LINES(count) (16u * (count))
#define ONE 3u /* lines of a gate of one product: bias, what the product takes off, scales */
#define TWO 5u

/* Of n rows from `row` on, up to VL: the product, scaled. `lines` has what it takes off and the
 * rows' scales. */
static inline vf scaled(unscaled u, const float *lines, size_t row, size_t n) {
    const int32_t *offsets = (const int32_t *)(const void *)lines;
    return scaled_rows(u.scale, v_load(lines + LINES(1)), i_take(u.sums + row, offsets, n, u.clear));
}

/* The same with the bias, whose line comes first: a row of one product, or of two. */
static inline vf gate_of_one(unscaled u, const float *lines, size_t row, size_t n) {
    return v_add(v_load(lines), scaled(u, lines + LINES(1), row, n));
}
static inline vf gate_of_two(unscaled u, unscaled v, const float *lines, size_t row, size_t n) {
    return v_add(gate_of_one(u, lines, row, n), scaled(v, lines + LINES(ONE), row, n));
}

/* Units of one part's span, whose rows follow one another gate by gate in the part's own sums. */
static inline void lstm_units(const csbrnn_frame *frame, const csbrnn_instruction *in,
                              const csbrnn_span *span, const csbrnn_section *terms, int clear) {
    const float *constants = CSBRNN_ARRAY(float, frame->image, in->offset);
    float *c = frame->memory + in->b, *h = frame->memory + in->c;
    const size_t first = span->row, units = span->rows;
    const unscaled x = unscaled_of(frame, terms, clear), s = unscaled_of(frame, terms + 1, clear);
#define OF(k) (constants + (k) / 16 * LINES(CSBRNN_LSTM_LINES) + (k) % 16)
#define GATE(j, k, n) gate_of_two(x, s, OF(k) + LINES((j) * TWO), (j) * units + (k) - first, n)
#define NEXT(k, n) lstm_next(c + (k), GATE(0, k, n), GATE(1, k, n), GATE(2, k, n), n)
#define HIDDEN(k, n) lstm_hidden(h + (k), c + (k), GATE(3, k, n), n)
    FOR_CHUNKS(first, first + units, NEXT, HIDDEN);
#undef NEXT
#undef HIDDEN
#undef GATE
#undef OF
}

static void lstm_sums(const csbrnn_frame *frame, const csbrnn_instruction *in,
                      const csbrnn_span *span, const csbrnn_section *terms) {
    if (terms->windows) lstm_units(frame, in, span, terms, 1);
    else lstm_units(frame, in, span, terms, 0);
}

static inline void gru_units(const csbrnn_frame *frame, const csbrnn_instruction *in,
                             const csbrnn_span *span, const csbrnn_section *terms, int clear) {
    const float *constants = CSBRNN_ARRAY(float, frame->image, in->offset);
    float *h = frame->memory + in->d;
    const size_t first = span->row, units = span->rows;
    const unscaled x = unscaled_of(frame, terms, clear), s = unscaled_of(frame, terms + 1, clear);
    const unscaled nx = unscaled_of(frame, terms + 2, clear);
    const unscaled nh = unscaled_of(frame, terms + 3, clear);
#define OF(k) (constants + (k) / 16 * LINES(CSBRNN_GRU_LINES) + (k) % 16)
    float candidates[CHUNK_UNITS];
#define RESET(k, n)                                                                           \
    gru_reset(candidates + (k) % CHUNK_UNITS, gate_of_two(x, s, OF(k), (k) - first, n),       \
              gate_of_one(nx, OF(k) + LINES(2 * TWO), (k) - first, n),                        \
              gate_of_one(nh, OF(k) + LINES(2 * TWO + ONE), (k) - first, n), n)
#define HIDDEN(k, n)                                                                          \
    gru_hidden(h + (k), candidates + (k) % CHUNK_UNITS,                                       \
               gate_of_two(x, s, OF(k) + LINES(TWO), units + (k) - first, n), n)
    FOR_CHUNKS(first, first + units, RESET, HIDDEN);
#undef RESET
#undef HIDDEN
#undef OF
}

static void gru_sums(const csbrnn_frame *frame, const csbrnn_instruction *in,
                     const csbrnn_span *span, const csbrnn_section *terms) {
    if (terms->windows) gru_units(frame, in, span, terms, 1);
    else gru_units(frame, in, span, terms, 0);
}

#undef LINES
#undef ONE
#undef TWO

#endif
