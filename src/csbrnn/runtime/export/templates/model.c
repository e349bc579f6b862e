/* @title@ See @name@.h. */
#include "@name@.h"

#include <assert.h>

#include "image.h"
@if array
#include "@name@_weights.h"
@end

static_assert(sizeof(@name@_state) == @NAME@_STATE_NBYTES, "csbrnn.h is of another version");

@if array
@name@_error @name@_init(@name@_state *state) {
    const void *weights = @name@_weights;
    const size_t nbytes = sizeof @name@_weights;
@else
@name@_error @name@_init(@name@_state *state, const void *weights, size_t nbytes) {
@end
    if (!state) return @NAME@_BAD_ARGUMENT;
    state->model.image = NULL;
    csbrnn_model model;
    csbrnn_error error = csbrnn_open(&model, weights, nbytes, NULL);
    if (error) return (@name@_error)error;
    /* What is here was compiled for these sizes and this input, step by step. */
    const csbrnn_stream *input = CSBRNN_TABLE(csbrnn_stream, model.image, streams) + CSBRNN_INPUT;
    if (csbrnn_memory_nbytes(&model) != sizeof state->memory ||
        csbrnn_state_nbytes(&model) != @NAME@_SAVED_NBYTES ||
        csbrnn_input_width(&model) != @NAME@_INPUT_SIZE ||
        csbrnn_output_width(&model) != @NAME@_OUTPUT_SIZE ||
@if tokens
        !input->token || input->bound != @NAME@_VOCABULARY ||
@else
        input->token ||
@end
        !csbrnn_header_of(model.image)->causal)
        return @NAME@_BAD_WEIGHTS;
    state->model = model;
    csbrnn_init(&state->model, state->memory);
    return @NAME@_OK;
}

@if tokens
@name@_error @name@_step(@name@_state *state, @name@_input token, float *output) {
    if (!state || !state->model.image || !output) return @NAME@_BAD_ARGUMENT;
    return (@name@_error)csbrnn_step(&state->model, state->memory, &token, output);
}
@else
@name@_error @name@_step(@name@_state *state, const @name@_input *input, float *output) {
    if (!state || !state->model.image || !input || !output) return @NAME@_BAD_ARGUMENT;
    return (@name@_error)csbrnn_step(&state->model, state->memory, input, output);
}
@end

@name@_error @name@_reset(@name@_state *state) {
    if (!state || !state->model.image) return @NAME@_BAD_ARGUMENT;
    csbrnn_init(&state->model, state->memory);
    return @NAME@_OK;
}

const char *@name@_isa(const @name@_state *state) {
    return state && state->model.image ? csbrnn_model_isa(&state->model) : NULL;
}
