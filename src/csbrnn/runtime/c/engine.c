/* Executes an image: passes, time steps, instructions. */
#include "engine.h"

#include <string.h>
#ifdef CSBRNN_X86
#include <cpuid.h>
#endif
#if defined(CSBRNN_NEON) && defined(__linux__) && defined(__GNUC__)
/* Where there is a C library that has it; firmware need not. */
#ifdef __cplusplus
extern "C"
#endif
unsigned long getauxval(unsigned long type) __attribute__((weak));
#endif

static const csbrnn_kernels *const all_kernels[] = { /* best first */
#ifdef CSBRNN_X86
    &csbrnn_kernels_avx512_vnni,
    &csbrnn_kernels_avx512,
    &csbrnn_kernels_avx2_vnni,
    &csbrnn_kernels_avx2,
#endif
#ifdef CSBRNN_NEON
    &csbrnn_kernels_neon_dot,
    &csbrnn_kernels_neon,
#endif
    &csbrnn_kernels_baseline,
};

#ifdef CSBRNN_X86
/* Compilers learned these names late. That the system saves wide registers is checked with AVX. */
static int has_avx_vnni(void) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
static int has_avx512_vnni_vbmi(void) {
    const unsigned needed = 1u << 1 | 1u << 6 | 1u << 11; /* VBMI, VBMI2, VNNI */
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & needed) == needed;
}
#endif

static int usable(const csbrnn_kernels *kernels) {
    if (!*kernels->name) return 0; /* left out of an export */
#ifdef CSBRNN_X86
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl");
    if (kernels == &csbrnn_kernels_avx512_vnni)
        return avx512 && has_avx512_vnni_vbmi();
    if (kernels == &csbrnn_kernels_avx512) return avx512;
    if (kernels == &csbrnn_kernels_avx2_vnni) return avx2 && has_avx_vnni();
    if (kernels == &csbrnn_kernels_avx2) return avx2;
#endif
#ifdef CSBRNN_NEON
    if (kernels == &csbrnn_kernels_neon_dot) {
#if defined(__ARM_FEATURE_DOTPROD) || defined(__APPLE__)
        return 1;
#elif defined(__linux__) && defined(__GNUC__)
        return getauxval && (getauxval(16) >> 20 & 1); /* AT_HWCAP, HWCAP_ASIMDDP */
#else
        return 0;
#endif
    }
#endif
    (void)kernels;
    return 1;
}

const char *csbrnn_isa(unsigned position) {
    for (size_t k = 0; k < sizeof all_kernels / sizeof *all_kernels; k++)
        if (usable(all_kernels[k]) && position-- == 0) return all_kernels[k]->name;
    return NULL;
}

csbrnn_error csbrnn_open(csbrnn_model *model, const void *image, size_t nbytes, const char *isa) {
    if (!model) return CSBRNN_BAD_ARGUMENT;
    model->image = NULL;
    model->kernels = NULL;
    csbrnn_error error = csbrnn_image_check(image, nbytes);
    if (error) return error;
    for (size_t k = 0; k < sizeof all_kernels / sizeof *all_kernels && !model->kernels; k++)
        if (usable(all_kernels[k]) && (!isa || !strcmp(isa, all_kernels[k]->name)))
            model->kernels = all_kernels[k];
    if (!model->kernels) return CSBRNN_BAD_ISA;
    model->image = (const unsigned char *)image;
    return CSBRNN_OK;
}

const char *csbrnn_model_isa(const csbrnn_model *model) { return model->kernels->name; }

static const csbrnn_header *header(const csbrnn_model *model) {
    return csbrnn_header_of(model->image);
}

static const csbrnn_stream *stream(const csbrnn_model *model, unsigned k) {
    return CSBRNN_TABLE(csbrnn_stream, model->image, streams) + k;
}

size_t csbrnn_memory_nbytes(const csbrnn_model *model) {
    return (size_t)header(model)->memory_floats * sizeof(float);
}

size_t csbrnn_state_nbytes(const csbrnn_model *model) {
    return (size_t)header(model)->state_floats * sizeof(float);
}

void csbrnn_init(const csbrnn_model *model, void *memory) {
    memset(memory, 0, csbrnn_memory_nbytes(model));
}

size_t csbrnn_input_width(const csbrnn_model *model) { return stream(model, CSBRNN_INPUT)->width; }
size_t csbrnn_output_width(const csbrnn_model *model) {
    return stream(model, CSBRNN_OUTPUT)->width;
}

size_t csbrnn_workspace_nbytes(const csbrnn_model *model, size_t steps) {
    size_t width = 0; /* streams lie one after the other: the last one's end is the width of all */
    for (uint32_t k = CSBRNN_OUTPUT + 1; k < header(model)->streams.count; k++)
        width = (size_t)stream(model, k)->column + stream(model, k)->width;
    if (steps && width > SIZE_MAX / sizeof(float) / steps) return SIZE_MAX; /* which nobody has */
    return width * steps * sizeof(float);
}

static float *stream_at(const csbrnn_task *task, uint32_t k, size_t t) {
    const csbrnn_stream *s = stream(task->model, k);
    if (k == CSBRNN_OUTPUT) return task->ys + t * s->width;
    return task->workspace + s->column * task->steps + t * s->width;
}

void csbrnn_move_in(const csbrnn_task *task, const csbrnn_pass *pass, size_t t) {
    const csbrnn_model *model = task->model;
    const csbrnn_move *m = CSBRNN_TABLE(csbrnn_move, model->image, moves);
    m += pass->first_move;
    for (uint32_t k = 0; k < pass->reads; k++, m++) {
        const unsigned char *from =
            m->stream == CSBRNN_INPUT
                ? task->xs + t * stream(model, CSBRNN_INPUT)->width * sizeof(float)
                : (const unsigned char *)stream_at(task, m->stream, t);
        memcpy(task->memory + m->address, from + (size_t)m->offset * sizeof(float),
               m->length * sizeof(float));
    }
}

void csbrnn_move_out(const csbrnn_task *task, const csbrnn_pass *pass, size_t t) {
    const csbrnn_move *m = CSBRNN_TABLE(csbrnn_move, task->model->image, moves);
    m += pass->first_move + pass->reads;
    for (uint32_t k = 0; k < pass->writes; k++, m++)
        memcpy(stream_at(task, m->stream, t) + m->offset, task->memory + m->address,
               m->length * sizeof(float));
}

static void lookup(const csbrnn_frame *frame, const csbrnn_instruction *in) {
    int32_t token;
    memcpy(&token, frame->memory + in->b, sizeof token);
    /* Tokens were checked on entry; this holds for images in which `b` is something else. */
    size_t row = token >= 0 && (uint32_t)token < in->count ? (size_t)token : 0;
    const float *from = CSBRNN_ARRAY(float, frame->image, in->offset);
    memcpy(frame->memory + in->a, from + row * in->length, in->length * sizeof(float));
}

size_t csbrnn_share(size_t length, uint32_t part, uint32_t parts) {
    if (parts == 1) return part ? length : 0; /* a division takes longer than a short instruction */
    const uint64_t lines = (length + CSBRNN_STRIP - 1) / CSBRNN_STRIP;
    const uint64_t at = lines * part / parts * CSBRNN_STRIP;
    return at < length ? (size_t)at : length;
}

void csbrnn_execute(const csbrnn_model *model, const csbrnn_frame *frame,
                    const csbrnn_instruction *in, uint32_t part) {
    const csbrnn_kernels *kernels = model->kernels;
    const csbrnn_header *h = header(model);
    const size_t first = csbrnn_share(in->length, part, h->parts);
    const size_t last = csbrnn_share(in->length, part + 1, h->parts);
    const csbrnn_span *span = NULL;
    const csbrnn_section *sections = NULL;
    const int gates = in->opcode == CSBRNN_LSTM || in->opcode == CSBRNN_GRU;
    if (in->opcode == CSBRNN_PRODUCT || (gates && in->flags & CSBRNN_SUMS)) {
        span = csbrnn_span_of(model->image, in, part);
        sections = csbrnn_sections_of(model->image, span);
    }
    switch (in->opcode) {
        case CSBRNN_PRODUCT: kernels->product(frame, in, span, sections); break;
        case CSBRNN_LSTM:
            if (span) kernels->lstm_sums(frame, in, span, sections);
            else kernels->lstm(frame, in, first, last);
            break;
        case CSBRNN_GRU:
            if (span) kernels->gru_sums(frame, in, span, sections);
            else kernels->gru(frame, in, first, last);
            break;
        case CSBRNN_ELEMENTWISE: {
            const csbrnn_operation *op = CSBRNN_TABLE(csbrnn_operation, model->image, operations);
            kernels->elementwise(frame, in, op + in->first, first, last);
            break;
        }
        case CSBRNN_SOFTMAX:
            if (part == 0) kernels->softmax(frame, in);
            break;
        case CSBRNN_COPY:
            memmove(frame->memory + in->a + first, csbrnn_at(frame, in->b) + first,
                    (last - first) * sizeof(float));
            break;
        case CSBRNN_QUANTIZE: kernels->quantize(frame, in, part); break;
        case CSBRNN_LOOKUP:
            if (part == 0) lookup(frame, in);
            break;
        default: break;
    }
}

/* Waits until all parts have come to this barrier or, where they announced their arrival before it,
 * to where they did. */
static void meet(const csbrnn_worker *worker, int *arrived) {
    if (!worker->arrive) return;
    if (!*arrived) worker->arrive(worker->context);
    worker->await(worker->context);
    *arrived = 0;
}

void csbrnn_task_run(const void *what, const csbrnn_worker *worker) {
    const csbrnn_task *task = (const csbrnn_task *)what;
    const csbrnn_model *model = task->model;
    const csbrnn_header *h = header(model);
    const float *constants = CSBRNN_TABLE(float, model->image, constants);
    const csbrnn_frame frame = {model->image, constants, task->memory};
    const csbrnn_pass *pass = CSBRNN_TABLE(csbrnn_pass, model->image, passes);
    int arrived = 0;
    for (uint32_t p = 0; p < h->passes.count; p++, pass++) {
        const csbrnn_instruction *in = CSBRNN_TABLE(csbrnn_instruction, model->image, instructions);
        in += pass->first_instruction;
        for (size_t k = 0; k < task->steps; k++) {
            const size_t t = pass->reverse ? task->steps - 1 - k : k;
            if (p > 0 || k > 0) {
                if (worker->first_part == 0) csbrnn_move_in(task, pass, t);
                meet(worker, &arrived);
            }
            for (uint32_t i = 0; i < pass->instructions; i++) {
                if (in[i].flags & CSBRNN_BARRIER) meet(worker, &arrived);
                if (in[i].flags & CSBRNN_ARRIVE && worker->arrive && !arrived) {
                    worker->arrive(worker->context);
                    arrived = 1;
                }
                for (uint32_t part = worker->first_part; part < worker->last_part; part++)
                    csbrnn_execute(model, &frame, in + i, part);
            }
            if (p + 1 < h->passes.count || k + 1 < task->steps) {
                meet(worker, &arrived);
                if (worker->first_part == 0) csbrnn_move_out(task, pass, t);
            }
        }
    }
}

void csbrnn_task_begin(const csbrnn_task *task) {
    const csbrnn_pass *pass = CSBRNN_TABLE(csbrnn_pass, task->model->image, passes);
    if (task->steps == 0 || header(task->model)->passes.count == 0) return;
    csbrnn_move_in(task, pass, pass->reverse ? task->steps - 1 : 0);
}

void csbrnn_task_end(const csbrnn_task *task) {
    const uint32_t passes = header(task->model)->passes.count;
    const csbrnn_pass *pass = CSBRNN_TABLE(csbrnn_pass, task->model->image, passes);
    if (task->steps == 0 || passes == 0) return;
    pass += passes - 1;
    csbrnn_move_out(task, pass, pass->reverse ? 0 : task->steps - 1);
}

csbrnn_error csbrnn_task_check(const csbrnn_task *task) {
    const csbrnn_stream *input = stream(task->model, CSBRNN_INPUT);
    if (!input->token) return CSBRNN_OK;
    for (size_t t = 0; t < task->steps; t++) {
        int32_t token;
        memcpy(&token, task->xs + t * sizeof token, sizeof token);
        if (token < 0 || (uint32_t)token >= input->bound) return CSBRNN_BAD_TOKEN;
    }
    return CSBRNN_OK;
}

csbrnn_error csbrnn_run(const csbrnn_model *model, void *memory, const void *xs, float *ys,
                        size_t steps, void *workspace) {
    const csbrnn_task task = {model, (float *)memory, (const unsigned char *)xs, ys,
                              (float *)workspace, steps};
    const csbrnn_worker alone = {0, header(model)->parts, NULL, NULL, NULL};
    if (!workspace && csbrnn_workspace_nbytes(model, steps)) return CSBRNN_BAD_ARGUMENT;
    csbrnn_error error = csbrnn_task_check(&task);
    if (error) return error;
    csbrnn_task_begin(&task);
    csbrnn_task_run(&task, &alone);
    csbrnn_task_end(&task);
    return CSBRNN_OK;
}

csbrnn_error csbrnn_step(const csbrnn_model *model, void *memory, const void *x, float *y) {
    if (!header(model)->causal) return CSBRNN_NOT_CAUSAL;
    return csbrnn_run(model, memory, x, y, 1, NULL);
}
