/* run IMAGE INPUTS OUTPUTS STEPS THREADS ISA: a sequence, then the same again step by step; the
 * outputs must agree. ISA "-" is the best. */
#include "harness.h"

int main(int argc, char **argv) {
    size_t image_nbytes, xs_nbytes;
    if (argc != 7) return 96;
    unsigned char *image = read_file(argv[1], &image_nbytes);
    unsigned char *xs = read_file(argv[2], &xs_nbytes);
    const size_t steps = strtoul(argv[4], NULL, 10);
    const unsigned threads = (unsigned)strtoul(argv[5], NULL, 10);
    csbrnn_model model;
    csbrnn_error error =
        csbrnn_open(&model, image, image_nbytes, strcmp(argv[6], "-") ? argv[6] : NULL);
    if (error) return (int)error;
    void *memory = line_alloc(csbrnn_memory_nbytes(&model));
    void *workspace = line_alloc(csbrnn_workspace_nbytes(&model, steps));
    const size_t width = csbrnn_output_width(&model);
    float *ys = line_alloc(steps * width * sizeof(float)), *y = line_alloc(width * sizeof(float));
    csbrnn_pool *pool = threads > 1 ? csbrnn_pool_create(threads) : NULL;
    csbrnn_init(&model, memory);
    error = pool ? csbrnn_pool_run(pool, &model, memory, xs, ys, steps, workspace)
                 : csbrnn_run(&model, memory, xs, ys, steps, workspace);
    if (error) return (int)error;
    csbrnn_init(&model, memory);
    for (size_t t = 0; t < steps; t++) {
        const void *x = xs + t * csbrnn_input_width(&model) * sizeof(float);
        error = pool ? csbrnn_pool_step(pool, &model, memory, x, y)
                     : csbrnn_step(&model, memory, x, y);
        if (error == CSBRNN_NOT_CAUSAL) break;
        if (error) return (int)error;
        if (memcmp(y, ys + t * width, width * sizeof(float))) return 95;
    }
    FILE *file = fopen(argv[3], "wb");
    if (!file || fwrite(ys, sizeof(float), steps * width, file) != steps * width) return 94;
    fclose(file);
    printf("%s\n", csbrnn_model_isa(&model));
    csbrnn_pool_destroy(pool);
    free(image), free(xs), free(memory), free(workspace), free(ys), free(y);
    return 0;
}
