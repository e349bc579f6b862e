/* Threads for csbrnn: a pool that shares the work of single steps.
 *
 * The work was cut into parts when the image was made; a pool of that many threads runs one part
 * each, meeting at barriers. Workers wait for one another by spinning briefly, then sleep, and
 * sleep between calls: nothing burns while idle. One call at a time per pool.
 */
#ifndef CSBRNN_POOL_H
#define CSBRNN_POOL_H

#include "csbrnn_many.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct csbrnn_pool csbrnn_pool;

/* `threads` counts the caller. NULL where threads or memory can't be had. */
CSBRNN_API csbrnn_pool *csbrnn_pool_create(unsigned threads);
CSBRNN_API void csbrnn_pool_destroy(csbrnn_pool *pool);

/* As csbrnn_step, csbrnn_run and csbrnn_run_many. */
CSBRNN_API csbrnn_error csbrnn_pool_step(csbrnn_pool *pool, const csbrnn_model *model,
                                         void *memory, const void *x, float *y);
CSBRNN_API csbrnn_error csbrnn_pool_run(csbrnn_pool *pool, const csbrnn_model *model,
                                        void *memory, const void *xs, float *ys, size_t steps,
                                        void *workspace);
CSBRNN_API csbrnn_error csbrnn_pool_run_many(csbrnn_pool *pool, const csbrnn_model *model,
                                             void *const *memories, const void *const *xs,
                                             float *const *ys, size_t steps, size_t count,
                                             void *workspace);

#ifdef __cplusplus
}
#endif
#endif
