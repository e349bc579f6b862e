/* many IMAGE INPUTS STEPS THREADS ISA: some streams at once, step by step and as sequences, must
 * give the bits of one stream after the other, each from a state of its own. */
#include "harness.h"

static csbrnn_model model;
static csbrnn_pool *pool;
static size_t steps, count, x_nbytes, y_nbytes;
static unsigned char *xs;

/* Exactly as large as asked for, so that a sanitizer sees the first byte too many; not zero. */
static void *exact(size_t nbytes) {
    void *p = NULL;
    if (posix_memalign(&p, 64, nbytes)) exit(99);
    memset(p, 0x5a, nbytes);
    return p;
}

/* The state after `k` steps of the sequence. */
static void *memory_of(size_t k) {
    void *memory = exact(csbrnn_memory_nbytes(&model));
    float *y = exact(k * y_nbytes), *workspace = exact(csbrnn_workspace_nbytes(&model, k));
    csbrnn_init(&model, memory);
    if (k && csbrnn_run(&model, memory, xs, y, k, workspace)) exit(93);
    free(y), free(workspace);
    return memory;
}

static int run_many(void **memories, const void **x, float **y, size_t n, void *workspace) {
    return pool ? (int)csbrnn_pool_run_many(pool, &model, memories, x, y, n, count, workspace)
                : (int)csbrnn_run_many(&model, memories, x, y, n, count, workspace);
}

/* Stream k starts after k % steps steps and, so that inputs differ too, repeats from step 1 on for
 * odd k. */
static void check(size_t n) {
    void **expected = calloc(count, sizeof *expected), **memories = calloc(count, sizeof *memories);
    const void **x = calloc(count, sizeof *x);
    float **y = calloc(count, sizeof *y), **right = calloc(count, sizeof *right);
    void *workspace = exact(csbrnn_many_nbytes(&model, n, count));
    void *alone = exact(csbrnn_workspace_nbytes(&model, n));
    for (size_t k = 0; k < count; k++) {
        memories[k] = memory_of(k % steps), expected[k] = memory_of(k % steps);
        x[k] = xs + (k % 2 && n < steps ? x_nbytes : 0);
        y[k] = exact(n * y_nbytes), right[k] = exact(n * y_nbytes);
        if (csbrnn_run(&model, expected[k], x[k], right[k], n, alone)) exit(92);
    }
    if (run_many(memories, x, y, n, workspace)) exit(91);
    for (size_t k = 0; k < count; k++) {
        if (memcmp(y[k], right[k], n * y_nbytes)) exit(90);
        if (memcmp(memories[k], expected[k], csbrnn_state_nbytes(&model))) exit(89);
        free(memories[k]), free(expected[k]), free(y[k]), free(right[k]);
    }
    free(memories), free(expected), free(x), free(y), free(right), free(workspace), free(alone);
}

int main(int argc, char **argv) {
    static const size_t counts[] = {1, 2, 3, 4, 5, 7, 8, 13, 70};
    size_t nbytes, xs_nbytes;
    if (argc != 6) return 96;
    unsigned char *image = read_file(argv[1], &nbytes);
    xs = read_file(argv[2], &xs_nbytes);
    steps = strtoul(argv[3], NULL, 10);
    const unsigned threads = (unsigned)strtoul(argv[4], NULL, 10);
    if (csbrnn_open(&model, image, nbytes, strcmp(argv[5], "-") ? argv[5] : NULL)) return 95;
    x_nbytes = csbrnn_input_width(&model) * sizeof(float);
    y_nbytes = csbrnn_output_width(&model) * sizeof(float);
    pool = threads > 1 ? csbrnn_pool_create(threads) : NULL;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        count = counts[c];
        check(steps);
        check(steps - 1);
        check(1);
    }
    count = 0;
    if (run_many(NULL, NULL, NULL, steps, NULL)) return 88;
    printf("%s\n", csbrnn_model_isa(&model));
    csbrnn_pool_destroy(pool);
    free(image), free(xs);
    return 0;
}
