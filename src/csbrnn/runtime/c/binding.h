/* What only the Python binding needs. ctypes spends most of a short call on converting arguments:
 * all pointers of a stream are kept in one structure, and a step passes a pointer to it. */
#ifndef CSBRNN_BINDING_H
#define CSBRNN_BINDING_H

#include "csbrnn_pool.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct csbrnn_call {
    csbrnn_model model;
    csbrnn_pool *pool; /* or NULL */
    void *memory;
    const void *x;
    float *y;
} csbrnn_call;

CSBRNN_API csbrnn_error csbrnn_call_step(const csbrnn_call *call);

/* Bytes a second at which this thread alone (threads = 1), or `threads` together, read a buffer
 * of `nbytes` a thread over and over: the best of `repeats` rounds. 0 where memory is short. */
CSBRNN_API double csbrnn_read_bandwidth(size_t nbytes, unsigned repeats, unsigned threads);

#ifdef __cplusplus
}
#endif
#endif
