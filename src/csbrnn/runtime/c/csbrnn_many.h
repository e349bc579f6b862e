/* Several streams at once, and whole sequences: each weight that is read serves many vectors.
 *
 * Streams that step together share the reading of the weights. In a sequence that is known in
 * advance, all that does not depend on the step before (the products with a layer's inputs) is
 * computed for a chunk of steps at once; then the recurrent rest step by step; then the next layer.
 * Results are those of csbrnn_step and csbrnn_run, bit for bit. Nothing here allocates or locks.
 */
#ifndef CSBRNN_MANY_H
#define CSBRNN_MANY_H

#include "csbrnn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One time step of `count` streams, each with a memory of its own: stream k reads xs[k] and writes
 * ys[k], as csbrnn_step does. The work is least for multiples of 4 streams. */
CSBRNN_API csbrnn_error csbrnn_step_many(const csbrnn_model *model, void *const *memories,
                                         const void *const *xs, float *const *ys, size_t count);

/* Bytes that csbrnn_run_many needs beside the memories, aligned to 64: bounded for causal models
 * whatever `steps` and `count` are, and 0 for a single step. */
CSBRNN_API size_t csbrnn_many_nbytes(const csbrnn_model *model, size_t steps, size_t count);

/* Whole sequences of one length. xs[k]: (steps, input_width), ys[k]: (steps, output_width). */
CSBRNN_API csbrnn_error csbrnn_run_many(const csbrnn_model *model, void *const *memories,
                                        const void *const *xs, float *const *ys, size_t steps,
                                        size_t count, void *workspace);

#ifdef __cplusplus
}
#endif
#endif
