/* Executes an image for several streams and several time steps at once. */
#include "many.h"

#include <string.h>

/* Lanes that run together: streams times steps of a chunk. */
#define MOST_LANES 64u
/* Steps times streams of a chunk: enough for weights to be read seldom, few enough that the lanes'
 * memories stay in the second-level cache. */
#define CHUNK_LANES 32u
/* Lanes that go through products in int8 and their gates together: enough for weights to be read
 * seldom, few enough that sums stay in the second-level cache. */
#define CROWD 32u
/* From here on streams alone share the weights well enough. */
#define CHUNK_STREAMS 8u

static const csbrnn_header *header(const csbrnn_model *model) {
    return csbrnn_header_of(model->image);
}

/* The product that belongs to a model's kernels; NULL if they have none. */
static csbrnn_product_many *product_many_of(const csbrnn_model *model) {
#ifdef CSBRNN_X86
    if (model->kernels == &csbrnn_kernels_avx512) return csbrnn_product_many_avx512;
    if (model->kernels == &csbrnn_kernels_avx512_vnni) return csbrnn_product_many_avx512;
    if (model->kernels == &csbrnn_kernels_avx2) return csbrnn_product_many_avx2;
    if (model->kernels == &csbrnn_kernels_avx2_vnni) return csbrnn_product_many_avx2;
#endif
#ifdef CSBRNN_NEON
    if (model->kernels == &csbrnn_kernels_neon) return csbrnn_product_many_neon;
    if (model->kernels == &csbrnn_kernels_neon_dot) return csbrnn_product_many_neon;
#endif
    return model->kernels == &csbrnn_kernels_baseline ? csbrnn_product_many_baseline : NULL;
}

/* Floats between the memories of a chunk's lanes: a line more than they take, since distances of
 * whole pages would put all lanes into the same few sets of the caches. */
static size_t lane_floats(const csbrnn_model *model) {
    const size_t floats = header(model)->memory_floats;
    return ((floats + 15u) & ~(size_t)15u) + 16u;
}

/* Steps that are computed together: 1 means in the streams' own memories. */
static size_t chunk_steps(const csbrnn_model *model, size_t steps, size_t count) {
    const csbrnn_pass *pass = CSBRNN_TABLE(csbrnn_pass, model->image, passes);
    uint32_t instructions = 0;
    for (uint32_t p = 0; p < header(model)->passes.count; p++)
        instructions |= pass[p].chunk_instructions;
    if (instructions == 0 || count == 0 || count >= CHUNK_STREAMS || steps < 2) return 1;
    return steps < CHUNK_LANES / count ? steps : CHUNK_LANES / count;
}

/* Floats of all lanes' memories, at the workspace's start; sequences between passes follow. */
static size_t lanes_floats(const csbrnn_model *model, size_t steps, size_t count) {
    const size_t chunk = chunk_steps(model, steps, count);
    return chunk > 1 ? chunk * count * lane_floats(model) : 0;
}

size_t csbrnn_many_nbytes(const csbrnn_model *model, size_t steps, size_t count) {
    const size_t together = count < MOST_LANES ? count : MOST_LANES;
    const size_t each = csbrnn_workspace_nbytes(model, steps);
    if (each > SIZE_MAX / 2 / MOST_LANES) return SIZE_MAX;
    return lanes_floats(model, steps, count) * sizeof(float) + together * each;
}

typedef struct { /* streams that run together, and the lanes of the current chunk */
    const csbrnn_many_task *task;
    const csbrnn_worker *worker;
    csbrnn_product_many *product;
    size_t first, count; /* streams */
    size_t chunk;
    float *between;              /* sequences between passes, one stream after the other */
    float *lanes[MOST_LANES];    /* step by step, in each stream by stream */
} crew;

static void meet(const crew *c) {
    const csbrnn_worker *worker = c->worker;
    if (!worker->arrive) return;
    worker->arrive(worker->context);
    worker->await(worker->context);
}

static csbrnn_task stream_task(const crew *c, size_t j, float *memory) {
    const csbrnn_many_task *t = c->task;
    const size_t stream_floats = csbrnn_workspace_nbytes(t->model, t->steps) / sizeof(float);
    const size_t k = c->first + j;
    float *between = c->between ? c->between + j * stream_floats : NULL;
    const csbrnn_task task = {t->model, memory, (const unsigned char *)t->xs[k], t->ys[k],
                              between, t->steps};
    return task;
}

/* Inputs (or outputs) of all lanes of `n` steps from the `k`-th on. */
static void move(const crew *c, const csbrnn_pass *pass, size_t k, size_t n, int out) {
    const size_t steps = c->task->steps;
    for (size_t s = 0; s < n; s++)
        for (size_t j = 0; j < c->count; j++) {
            const csbrnn_task task = stream_task(c, j, c->lanes[s * c->count + j]);
            const size_t t = pass->reverse ? steps - 1 - (k + s) : k + s;
            if (out) csbrnn_move_out(&task, pass, t);
            else csbrnn_move_in(&task, pass, t);
        }
}

/* Whether the many-vector product has kernels for all of a span. */
static int all_float(const csbrnn_span *span, const csbrnn_section *section) {
    for (uint32_t k = 0; k < span->sections; k++)
        if (section[k].dtype == CSBRNN_INT8) return 0;
    return 1;
}

/* Sums that int8 blocks add to begin at zero: so must the lanes' own memories. */
static void clear_lanes(const csbrnn_many_task *task, size_t chunk) {
    const csbrnn_model *model = task->model;
    const csbrnn_instruction *in = CSBRNN_TABLE(csbrnn_instruction, model->image, instructions);
    for (uint32_t i = 0; i < header(model)->instructions.count; i++)
        if (in[i].opcode == CSBRNN_QUANTIZE) {
            memset(task->workspace, 0, chunk * task->count * lane_floats(model) * sizeof(float));
            return;
        }
}

/* One part's share of a product for all lanes; 0 if it is none of floats, and nothing was done. */
static int product_at_once(const crew *c, const csbrnn_instruction *in, uint32_t part,
                           float *const *lanes, size_t count) {
    const csbrnn_model *model = c->task->model;
    if (in->opcode != CSBRNN_PRODUCT || !c->product) return 0;
    const csbrnn_frame frame = {model->image, CSBRNN_TABLE(float, model->image, constants), NULL};
    const csbrnn_span *span = csbrnn_span_of(model->image, in, part);
    const csbrnn_section *section = csbrnn_sections_of(model->image, span);
    if (!all_float(span, section)) return 0;
    c->product(&frame, in, span, section, lanes, count);
    return 1;
}

/* `instructions` for up to CROWD lanes. */
static void execute_crowd(const crew *c, const csbrnn_instruction *in, uint32_t instructions,
                          uint32_t part, float *const *lanes, size_t count) {
    const csbrnn_model *model = c->task->model;
    const float *constants = CSBRNN_TABLE(float, model->image, constants);
    for (uint32_t i = 0; i < instructions; i++, in++) {
        if (in->opcode == CSBRNN_PRODUCT && count > 1) {
            const csbrnn_frame frame = {model->image, constants, NULL};
            const csbrnn_span *span = csbrnn_span_of(model->image, in, part);
            const csbrnn_section *section = csbrnn_sections_of(model->image, span);
            model->kernels->product_lanes(&frame, in, span, section, lanes, count);
            continue;
        }
        for (size_t l = 0; l < count; l++) {
            const csbrnn_frame frame = {model->image, constants, lanes[l]};
            csbrnn_execute(model, &frame, in, part);
        }
    }
}

static void execute(const crew *c, const csbrnn_instruction *in, uint32_t instructions,
                    float *const *lanes, size_t count) {
    for (uint32_t part = c->worker->first_part; part < c->worker->last_part; part++) {
        if (instructions == 1 && count > 1 && product_at_once(c, in, part, lanes, count)) continue;
        for (size_t l = 0; l < count; l += CROWD)
            execute_crowd(c, in, instructions, part, lanes + l,
                          count - l < CROWD ? count - l : CROWD);
    }
}

/* Instructions from the first of `count` on that lanes go through crowd by crowd: products whose sums
 * gates take, and these. Sums of all lanes would be too much for a cache. Such products are nobody
 * else's business, so that a barrier of the gates may as well come before them. */
static uint32_t together(const csbrnn_instruction *in, uint32_t count) {
    uint32_t n = 1;
    if (in->opcode != CSBRNN_PRODUCT || !(in->flags & CSBRNN_SUMS)) return 1;
    while (n < count && in[n].flags & CSBRNN_SUMS && in[n - 1].opcode == CSBRNN_PRODUCT) n++;
    return n;
}

/* Hands a state on to the lanes of the chunk's step `s`. */
static void carry(const crew *c, const csbrnn_instruction *in, size_t s) {
    const uint32_t parts = header(c->task->model)->parts;
    const size_t first = csbrnn_share(in->length, c->worker->first_part, parts);
    const size_t last = csbrnn_share(in->length, c->worker->last_part, parts);
    for (size_t j = 0; j < c->count; j++) {
        const float *from = s > 0 ? c->lanes[(s - 1) * c->count + j]
                                  : (const float *)c->task->memories[c->first + j];
        float *to = c->lanes[s * c->count + j];
        memcpy(to + in->a + first, from + in->a + first, (last - first) * sizeof(float));
    }
}

/* The last lanes' states go back to the streams' memories. */
static void keep(const crew *c, const csbrnn_pass *pass, const csbrnn_instruction *in, size_t n) {
    for (uint32_t i = 0; i < pass->chunk_instructions; i++, in++)
        for (size_t j = 0; in->opcode == CSBRNN_CARRY && j < c->count; j++) {
            float *memory = (float *)c->task->memories[c->first + j];
            memcpy(memory + in->a, c->lanes[(n - 1) * c->count + j] + in->a,
                   in->length * sizeof(float));
        }
}

/* Instructions that depend on the step before, for one step after the other. */
static void recur(const crew *c, const csbrnn_instruction *in, uint32_t count, size_t n) {
    for (size_t s = 0; s < n; s++) {
        meet(c);
        for (uint32_t i = 0; i < count; i++) {
            const int carried = i > 0 && in[i - 1].opcode == CSBRNN_CARRY;
            if (in[i].opcode == CSBRNN_CARRY) {
                carry(c, in + i, s);
                continue;
            }
            if (carried || in[i].flags & CSBRNN_BARRIER) meet(c);
            execute(c, in + i, 1, c->lanes + s * c->count, c->count);
        }
    }
}

static void run_chunk(const crew *c, const csbrnn_instruction *in, uint32_t count, size_t n) {
    for (uint32_t i = 0; i < count;) {
        uint32_t stop = i;
        if (!(in[i].flags & CSBRNN_EVERY)) {
            while (stop < count && !(in[stop].flags & CSBRNN_EVERY)) stop++;
            recur(c, in + i, stop - i, n);
        }
        if (stop < count) {
            meet(c);
            execute(c, in + stop, 1, c->lanes, n * c->count);
            stop++;
        }
        i = stop;
    }
}

static void run_pass(crew *c, const csbrnn_pass *pass) {
    const csbrnn_many_task *task = c->task;
    const csbrnn_model *model = task->model;
    const csbrnn_instruction *in = CSBRNN_TABLE(csbrnn_instruction, model->image, instructions);
    const size_t chunk = pass->chunk_instructions ? c->chunk : 1;
    const size_t stride = lane_floats(model);
    for (size_t k = 0; k < task->steps; k += chunk) {
        const size_t n = task->steps - k < chunk ? task->steps - k : chunk;
        for (size_t l = 0; l < n * c->count; l++)
            c->lanes[l] = chunk > 1 ? task->workspace + l * stride
                                    : (float *)task->memories[c->first + l];
        if (c->worker->first_part == 0) move(c, pass, k, n, 0);
        meet(c);
        if (chunk > 1) {
            run_chunk(c, in + pass->chunk_first, pass->chunk_instructions, n);
        } else {
            const csbrnn_instruction *each = in + pass->first_instruction;
            for (uint32_t i = 0, some; i < pass->instructions; i += some, each += some) {
                some = together(each, pass->instructions - i);
                unsigned flags = 0;
                for (uint32_t k = 0; k < some; k++) flags |= each[k].flags;
                if (flags & CSBRNN_BARRIER) meet(c);
                execute(c, each, some, c->lanes, c->count);
            }
        }
        meet(c);
        if (c->worker->first_part == 0) {
            move(c, pass, k, n, 1);
            if (chunk > 1) keep(c, pass, in + pass->chunk_first, n);
        }
    }
}

void csbrnn_many_run(const void *what, const csbrnn_worker *worker) {
    const csbrnn_many_task *task = (const csbrnn_many_task *)what;
    const csbrnn_model *model = task->model;
    const size_t chunk = chunk_steps(model, task->steps, task->count);
    crew c = {task, worker, product_many_of(model), 0, 0, chunk, NULL, {NULL}};
    if (csbrnn_workspace_nbytes(model, task->steps))
        c.between = task->workspace + lanes_floats(model, task->steps, task->count);
    if (chunk > 1 && worker->first_part == 0) clear_lanes(task, chunk);
    for (; c.first < task->count; c.first += c.count) {
        const size_t left = task->count - c.first;
        c.count = left < MOST_LANES ? left : MOST_LANES;
        const csbrnn_pass *pass = CSBRNN_TABLE(csbrnn_pass, model->image, passes);
        for (uint32_t p = 0; p < header(model)->passes.count; p++) run_pass(&c, pass + p);
    }
}

csbrnn_error csbrnn_many_check(const csbrnn_many_task *task) {
    if (task->count == 0 || task->steps == 0) return CSBRNN_OK;
    if (!task->memories || !task->xs || !task->ys) return CSBRNN_BAD_ARGUMENT;
    if (!task->workspace && csbrnn_many_nbytes(task->model, task->steps, task->count))
        return CSBRNN_BAD_ARGUMENT;
    for (size_t j = 0; j < task->count; j++) {
        const csbrnn_task each = {task->model, (float *)task->memories[j],
                                  (const unsigned char *)task->xs[j], task->ys[j],
                                  NULL, task->steps};
        const csbrnn_error error = csbrnn_task_check(&each);
        if (error) return error;
    }
    return CSBRNN_OK;
}

csbrnn_error csbrnn_run_many(const csbrnn_model *model, void *const *memories,
                             const void *const *xs, float *const *ys, size_t steps, size_t count,
                             void *workspace) {
    const csbrnn_many_task task = {model, memories, xs, ys, steps, count, (float *)workspace};
    const csbrnn_worker alone = {0, header(model)->parts, NULL, NULL, NULL};
    const csbrnn_error error = csbrnn_many_check(&task);
    if (!error) csbrnn_many_run(&task, &alone);
    return error;
}

csbrnn_error csbrnn_step_many(const csbrnn_model *model, void *const *memories,
                              const void *const *xs, float *const *ys, size_t count) {
    if (!header(model)->causal) return CSBRNN_NOT_CAUSAL;
    return csbrnn_run_many(model, memories, xs, ys, 1, count, NULL);
}
