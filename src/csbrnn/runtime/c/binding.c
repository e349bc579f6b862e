/* What only the Python binding needs: a call with one argument. */
#include "binding.h"

csbrnn_error csbrnn_call_step(const csbrnn_call *call) {
    return call->pool ? csbrnn_pool_step(call->pool, &call->model, call->memory, call->x, call->y)
                      : csbrnn_step(&call->model, call->memory, call->x, call->y);
}
