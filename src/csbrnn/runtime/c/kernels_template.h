/* The kernels, written once. Each kernels_<isa>.c selects an instruction set by pragma, includes
 * its SIMD header and then this file, which defines `csbrnn_kernels_<isa>`. No compiler flag is
 * involved, so `cc -O3 *.c` builds everything for every machine of an architecture. */

#include "kernels_math.h"
#include "kernels_integer.h"
#include "kernels_product.h"

#define STR(name) #name
#define STRING(name) STR(name)
#define JOIN(a, b) a##b
#define TABLE(isa) JOIN(csbrnn_kernels_, isa)

/* Calls body(element, n) for whole vectors, then for what is left. */
#define FOR_VECTORS(first, last, body)                           \
    do {                                                         \
        size_t k = (first);                                      \
        for (; k + VL <= (last); k += VL) body(k, VL);           \
        if (k < (last)) body(k, (last) - k);                     \
    } while (0)

static inline vf load_n(const float *p, size_t n) { return n == VL ? v_load(p) : v_load_part(p, n); }
static inline void store_n(float *p, vf a, size_t n) {
    if (n == VL) v_store(p, a);
    else v_store_part(p, a, n);
}

#include "kernels_gates.h"

/* One operation on a chunk of up to CSBRNN_CHUNK elements, always in whole vectors: what lies
 * behind a short chunk's end is computed and ignored. */
#define UNARY(expression)                                                              \
    for (size_t e = 0; e < CSBRNN_CHUNK; e += VL) {                                    \
        vf a = v_load(slot[op->a] + e);                                                \
        v_store(slot[op->to] + e, expression);                                         \
    }                                                                                  \
    break
#define BINARY(function)                                                               \
    for (size_t e = 0; e < CSBRNN_CHUNK; e += VL)                                      \
        v_store(slot[op->to] + e, function(v_load(slot[op->a] + e), v_load(slot[op->b] + e))); \
    break

static void operate(float slot[CSBRNN_SLOTS][CSBRNN_CHUNK], const csbrnn_frame *frame,
                    const csbrnn_operation *op, size_t k, size_t n) {
    switch (op->op) {
        case CSBRNN_OP_LOAD: memcpy(slot[op->to], csbrnn_at(frame, op->operand) + k, n * 4); break;
        case CSBRNN_OP_STORE: memcpy(frame->memory + op->operand + k, slot[op->a], n * 4); break;
        case CSBRNN_OP_CONSTANT: {
            float value;
            memcpy(&value, &op->operand, sizeof value);
            for (size_t e = 0; e < CSBRNN_CHUNK; e++) slot[op->to][e] = value;
            break;
        }
        case CSBRNN_OP_NEG: UNARY(v_neg(a));
        case CSBRNN_OP_SIGMOID: UNARY(v_sigmoid(a));
        case CSBRNN_OP_TANH: UNARY(v_tanh(a));
        case CSBRNN_OP_RELU: UNARY(v_max(v_set1(0.0f), a));
        case CSBRNN_OP_EXP: UNARY(v_exp(a));
        case CSBRNN_OP_LOG: UNARY(v_log(a));
        case CSBRNN_OP_ABS: UNARY(v_abs(a));
        case CSBRNN_OP_ADD: BINARY(v_add);
        case CSBRNN_OP_SUB: BINARY(v_sub);
        case CSBRNN_OP_MUL: BINARY(v_mul);
        case CSBRNN_OP_DIV: BINARY(v_div);
        case CSBRNN_OP_MAXIMUM: BINARY(v_maximum);
        case CSBRNN_OP_MINIMUM: BINARY(v_minimum);
        default: break;
    }
}

static void elementwise(const csbrnn_frame *frame, const csbrnn_instruction *in,
                        const csbrnn_operation *operations, size_t first, size_t last) {
    float slot[CSBRNN_SLOTS][CSBRNN_CHUNK];
    /* A program of `count` operations uses at most as many slots. */
    memset(slot, 0, (in->count < CSBRNN_SLOTS ? in->count : CSBRNN_SLOTS) * sizeof slot[0]);
    for (size_t k = first; k < last; k += CSBRNN_CHUNK) {
        size_t n = last - k < CSBRNN_CHUNK ? last - k : CSBRNN_CHUNK;
        for (uint32_t o = 0; o < in->count; o++) operate(slot, frame, operations + o, k, n);
    }
}

static float lanes_max(vf a) {
    float lanes[VL];
    v_store(lanes, a);
    for (unsigned k = 1; k < VL; k++) lanes[0] = lanes[k] > lanes[0] ? lanes[k] : lanes[0];
    return lanes[0];
}

static float lanes_sum(vf a) {
    float lanes[VL];
    v_store(lanes, a);
    for (unsigned k = 1; k < VL; k++) lanes[0] += lanes[k];
    return lanes[0];
}

/* softmax(x) = e^(x - max) / sum; its logarithm is x - max - log(sum). A NaN reaches every element,
 * through the sum. Elements past the end stand for e^-inf = 0. */
static void softmax(const csbrnn_frame *frame, const csbrnn_instruction *in) {
    const float *x = csbrnn_at(frame, in->b);
    float *y = frame->memory + in->a;
    const size_t length = in->length, whole = length - length % VL;
    if (length == 0) return;
    vf most = v_set1(x[0]), total = v_set1(0.0f);
    for (size_t k = 0; k < whole; k += VL) most = v_max(most, v_load(x + k));
    float top = lanes_max(most);
    for (size_t k = whole; k < length; k++) top = x[k] > top ? x[k] : top;
    const vf shift = v_set1(top);
    const int log = in->flags & CSBRNN_LOG;
    for (size_t k = 0; k < length; k += VL) {
        size_t n = length - k < VL ? length - k : VL;
        vf shifted = v_sub(load_n(x + k, n), shift), e = v_exp(shifted);
        store_n(y + k, log ? shifted : e, n);
        if (n < VL) {
            float lanes[VL] = {0};
            v_store_part(lanes, e, n);
            e = v_load(lanes);
        }
        total = v_add(total, e);
    }
    const vf sum = v_set1(lanes_sum(total));
    const vf log_sum = v_log(sum);
    for (size_t k = 0; k < length; k += VL) {
        size_t n = length - k < VL ? length - k : VL;
        vf value = load_n(y + k, n);
        store_n(y + k, log ? v_sub(value, log_sum) : v_div(value, sum), n);
    }
}

#define INT8_ONLY(kernel) (CSBRNN_HAS_INT8 ? (kernel) : 0)
#if !CSBRNN_HAS_MANY
#define product_lanes 0
#endif

const csbrnn_kernels TABLE(ISA) = {
    STRING(ISA), product, product_lanes, lstm, gru, INT8_ONLY(lstm_sums), INT8_ONLY(gru_sums),
    elementwise, softmax, INT8_ONLY(quantize)};
