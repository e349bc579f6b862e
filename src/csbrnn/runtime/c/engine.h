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
    /* Tells the others that this one has come to a barrier, and waits until they all have: once
     * each, in turns. NULL: there are no others. */
    void (*arrive)(void *context), (*await)(void *context);
    void *context;
} csbrnn_worker;

/* Copies what a pass reads in step `t` into the task's memory; what it writes out of it. */
void csbrnn_move_in(const csbrnn_task *task, const csbrnn_pass *pass, size_t t);
void csbrnn_move_out(const csbrnn_task *task, const csbrnn_pass *pass, size_t t);

/* One part of an instruction, in the frame's memory. */
void csbrnn_execute(const csbrnn_model *model, const csbrnn_frame *frame,
                    const csbrnn_instruction *in, uint32_t part);

/* Where a part's share of `length` elements begins: shares are whole cache lines. */
size_t csbrnn_share(size_t length, uint32_t part, uint32_t parts);

/* Checks what can be known before anything is run. */
csbrnn_error csbrnn_task_check(const csbrnn_task *task);

/* Runs this worker's parts of a csbrnn_task; all workers run the same control flow. The first input
 * must have been moved in, and the last output is still to be moved out: by the caller, so that
 * workers need not meet for that. */
void csbrnn_task_run(const void *task, const csbrnn_worker *worker);
void csbrnn_task_begin(const csbrnn_task *task);
void csbrnn_task_end(const csbrnn_task *task);

#ifdef __cplusplus
}
#endif
#endif
