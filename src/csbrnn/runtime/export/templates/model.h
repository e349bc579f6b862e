/* @title@
 *
 *     static @name@_state state;
 *     float output[@NAME@_OUTPUT_SIZE];
@if array
 *     if (@name@_init(&state) != @NAME@_OK) ...
@else
 *     if (@name@_init(&state, weights, nbytes) != @NAME@_OK) ...
@end
@if tokens
 *     for (;;) if (@name@_step(&state, token, output) != @NAME@_OK) ...
@else
 *     for (;;) if (@name@_step(&state, input, output) != @NAME@_OK) ...
@end
 *
 * All that changes lies in @name@_state, which the caller owns: one for each sequence that is under
 * way. No function allocates, locks or keeps a variable, so states may be used from any threads, each
 * state from one at a time. Written by csbrnn @version@; README.md says how to build, and what it needs.
 */
#ifndef @NAME@_H
#define @NAME@_H

#include <stddef.h>
#include <stdint.h>

#include "csbrnn.h"

#ifdef __cplusplus
extern "C" {
#endif

@if tokens
#define @NAME@_INPUT_SIZE 1 /* tokens a step */
#define @NAME@_VOCABULARY @vocabulary@ /* tokens are 0 .. @NAME@_VOCABULARY - 1 */
@else
#define @NAME@_INPUT_SIZE @input_size@ /* floats a step */
@end
#define @NAME@_OUTPUT_SIZE @output_size@ /* floats a step */
#define @NAME@_FLASH_NBYTES @flash_nbytes@ /* the weights, read only: flash; code comes on top */
#define @NAME@_STATE_NBYTES @state_nbytes@ /* sizeof(@name@_state): RAM a sequence; stack comes on top */
#define @NAME@_SAVED_NBYTES @saved_nbytes@ /* of them the first, which live from step to step */
#define @NAME@_ALIGNMENT 64 /* of a state and of the weights, in bytes */

#ifdef __cplusplus
#define @NAME@_ALIGNED alignas(@NAME@_ALIGNMENT)
#else
#define @NAME@_ALIGNED _Alignas(@NAME@_ALIGNMENT)
#endif

typedef enum @name@_error {
    @NAME@_OK = CSBRNN_OK,
@if array
    @NAME@_BAD_WEIGHTS = CSBRNN_BAD_IMAGE, /* the weights in flash are damaged */
@else
    @NAME@_BAD_WEIGHTS = CSBRNN_BAD_IMAGE, /* damaged, misaligned, or of other sizes */
@end
    @NAME@_BAD_ISA = CSBRNN_BAD_ISA, /* this machine has none of the instruction sets exported */
@if tokens
    @NAME@_BAD_TOKEN = CSBRNN_BAD_TOKEN, /* not in the vocabulary; the state has not changed */
@end
    @NAME@_BAD_ARGUMENT = CSBRNN_BAD_ARGUMENT /* a null pointer, or a state that was not initialized */
} @name@_error;

@if tokens
typedef int32_t @name@_input; /* a token */
@else
typedef float @name@_input;
@end

/* One sequence. Fields are private, but that the first @NAME@_SAVED_NBYTES bytes of `memory` may be
 * saved, and copied back into an initialized state of the same model, to go on from there. */
typedef struct @name@_state {
    @NAME@_ALIGNED float memory[@memory_floats@];
    csbrnn_model model;
} @name@_state;

/* Makes a state ready, at the start of a sequence: checks the weights (reads their indices once) and
 * chooses the best instruction set that this machine has. On an error the state can't be used. */
@if array
@name@_error @name@_init(@name@_state *state);
@else
/* weights: the @NAME@_FLASH_NBYTES bytes of @name@.bin, at a multiple of @NAME@_ALIGNMENT bytes, used in
 * place: they must stay there, unchanged, as long as the state is in use. Any number of states may
 * share them. nbytes: how many there are; a retrained model of the same shape may have another count. */
@name@_error @name@_init(@name@_state *state, const void *weights, size_t nbytes);
@end

@if tokens
/* One time step: reads a token, writes @NAME@_OUTPUT_SIZE floats. */
@name@_error @name@_step(@name@_state *state, @name@_input token, float *output);
@else
/* One time step: reads @NAME@_INPUT_SIZE floats, writes @NAME@_OUTPUT_SIZE. */
@name@_error @name@_step(@name@_state *state, const @name@_input *input, float *output);
@end

/* Back to the start of a sequence. The state must have been initialized. */
@name@_error @name@_reset(@name@_state *state);

/* The instruction set in use ("avx2", "neon", "baseline", ..); NULL for a state not initialized. */
const char *@name@_isa(const @name@_state *state);

#ifdef __cplusplus
}
#endif
#endif
