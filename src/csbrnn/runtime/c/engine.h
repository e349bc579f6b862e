/* Inside: running a program, alone or as one of several workers. */
#ifndef CSBRNN_ENGINE_H
#define CSBRNN_ENGINE_H

#include "csbrnn.h"
#include "kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct csbrnn_task { /* one call of csbrnn_step or csbrnn_run */
    const csbrnn_model *model;
    float *memory;
    const unsigned char *xs;
    float *ys;
    float *workspace;
    size_t steps;
} csbrnn_task;

typedef struct csbrnn_worker { /* which parts of the work, and how to meet the other workers */
    uint32_t first_part, last_part;
    void (*barrier)(void *context); /* NULL: there are no others */
    void *context;
} csbrnn_worker;

/* Checks what can be known before anything is run. */
csbrnn_error csbrnn_task_check(const csbrnn_task *task);

/* Runs this worker's parts of the task; all workers run the same control flow. */
void csbrnn_task_run(const csbrnn_task *task, const csbrnn_worker *worker);

#ifdef __cplusplus
}
#endif
#endif
