/* Inside: several vectors at once. */
#ifndef CSBRNN_MANY_INSIDE_H
#define CSBRNN_MANY_INSIDE_H

#include "csbrnn_many.h"
#include "engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows of one span of a product, for the memories of `count` lanes. */
typedef void csbrnn_product_many(const csbrnn_frame *, const csbrnn_instruction *,
                                 const csbrnn_span *, const csbrnn_section *, float *const *lanes,
                                 size_t count);

csbrnn_product_many csbrnn_product_many_baseline;
#ifdef CSBRNN_X86
csbrnn_product_many csbrnn_product_many_avx2, csbrnn_product_many_avx512;
#endif
#ifdef CSBRNN_NEON
csbrnn_product_many csbrnn_product_many_neon;
#endif

typedef struct csbrnn_many_task { /* one call of csbrnn_run_many */
    const csbrnn_model *model;
    void *const *memories;
    const void *const *xs;
    float *const *ys;
    size_t steps, count;
    float *workspace;
} csbrnn_many_task;

/* Checks what can be known before anything is run. */
csbrnn_error csbrnn_many_check(const csbrnn_many_task *task);

/* Runs a worker's parts of a csbrnn_many_task. */
void csbrnn_many_run(const void *task, const csbrnn_worker *worker);

#ifdef __cplusplus
}
#endif
#endif
