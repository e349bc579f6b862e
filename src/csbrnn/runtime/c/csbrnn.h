/* csbrnn: pruned recurrent networks, one time step at a time.
 *
 *     static unsigned char memory[MODEL_MEMORY] __attribute__((aligned(64)));
 *     csbrnn_model model;
 *     if (csbrnn_open(&model, image, sizeof image, NULL) != CSBRNN_OK) ...
 *     csbrnn_init(&model, memory);
 *     for (;;) csbrnn_step(&model, memory, x, y);
 *
 * A model is an *image*: one position-independent run of bytes, aligned to 64, executed in place
 * (it may lie in flash; docs/spec/program.md describes it). Everything that changes lies in
 * `memory`, which the caller owns: one block a stream, so any number of streams can run at once,
 * from any number of threads. No function here allocates, locks, or keeps a variable; only
 * csbrnn_pool.h, which adds threads and can be left out, does. Build: `cc -O3 -c *.c`.
 */
#ifndef CSBRNN_H
#define CSBRNN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef CSBRNN_SHARED /* building the shared library, where all else is hidden */
#define CSBRNN_API __attribute__((visibility("default")))
#else
#define CSBRNN_API
#endif

typedef enum csbrnn_error {
    CSBRNN_OK = 0,
    CSBRNN_BAD_IMAGE = 1,  /* not an image, of another version, damaged, or not aligned to 64 */
    CSBRNN_BAD_ISA = 2,    /* no instruction set of this name in this build or on this machine */
    CSBRNN_BAD_TOKEN = 3,  /* a token outside 0 .. vocabulary - 1; nothing was run */
    CSBRNN_NOT_CAUSAL = 4, /* bidirectional: needs csbrnn_run, and its workspace */
    CSBRNN_BAD_ARGUMENT = 5
} csbrnn_error;

/* An opened image: two pointers, to be copied freely. Valid while the image stays in place. */
typedef struct csbrnn_model {
    const unsigned char *image;
    const struct csbrnn_kernels *kernels;
} csbrnn_model;

/* Checks every byte that execution relies on; hostile images are refused. */
CSBRNN_API csbrnn_error csbrnn_image_check(const void *image, size_t nbytes);

/* Checks the image and selects the kernels: those of the instruction set named (one that csbrnn_isa
 * tells), or with NULL the best that this machine has. */
CSBRNN_API csbrnn_error csbrnn_open(csbrnn_model *model, const void *image, size_t nbytes,
                                    const char *isa);

/* The instruction sets usable here, best first; NULL past the end. */
CSBRNN_API const char *csbrnn_isa(unsigned position);

/* Name of the instruction set that an opened model uses. */
CSBRNN_API const char *csbrnn_model_isa(const csbrnn_model *model);

/* Bytes of one stream's memory. It must be aligned to 64. */
CSBRNN_API size_t csbrnn_memory_nbytes(const csbrnn_model *model);

/* Bytes at the start of the memory which live from step to step: what to save and restore. */
CSBRNN_API size_t csbrnn_state_nbytes(const csbrnn_model *model);

/* Sets all states of a stream to zero: the start of a sequence. */
CSBRNN_API void csbrnn_init(const csbrnn_model *model, void *memory);

/* Numbers (float, or int32_t for tokens) of input and output a step. */
CSBRNN_API size_t csbrnn_input_width(const csbrnn_model *model);
CSBRNN_API size_t csbrnn_output_width(const csbrnn_model *model);

/* One time step. x: input_width floats, or one int32_t token. y: output_width floats. */
CSBRNN_API csbrnn_error csbrnn_step(const csbrnn_model *model, void *memory, const void *x,
                                    float *y);

/* Bytes that csbrnn_run needs beside the memory; 0 for causal models. Aligned to 64. */
CSBRNN_API size_t csbrnn_workspace_nbytes(const csbrnn_model *model, size_t steps);

/* A whole sequence. xs: (steps, input_width), ys: (steps, output_width), row by row. */
CSBRNN_API csbrnn_error csbrnn_run(const csbrnn_model *model, void *memory, const void *xs,
                                   float *ys, size_t steps, void *workspace);

#ifdef __cplusplus
}
#endif
#endif
