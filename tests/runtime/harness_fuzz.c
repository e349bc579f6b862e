/* fuzz IMAGE MUTATIONS SEED: images with a few damaged bytes must be refused or run, with every
 * instruction set, without touching memory that is not theirs (the sanitizers' part). */
#include "harness.h"

#include "csbrnn_many.h"
#include "image.h"

static uint64_t state;

static uint64_t next(void) { /* xorshift64* */
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return state * 0x2545f4914f6cdd1dull;
}

/* Where damage matters: the records before the weights. */
static size_t records(const unsigned char *image) {
    const csbrnn_header *h = csbrnn_header_of(image);
    return (size_t)h->constants.offset;
}

static void mutate(unsigned char *image, size_t nbytes) {
    static const uint32_t edges[] = {0, 1, 3, 4, 15, 16, 17, 63, 64, 65, 0x7fff, 0xffff, 0x10000,
                                     0x7fffffff, 0x80000000u, 0x80000001u, 0xfffffff0u, ~0u};
    for (unsigned n = 1 + next() % 3; n > 0; n--) {
        /* Three of four in the records, the rest anywhere (indices and heads among them). */
        size_t limit = next() % 4 ? records(image) : nbytes;
        if (limit < 4 || limit > nbytes) limit = nbytes;
        size_t at = next() % limit;
        switch (next() % 4) {
            case 0: image[at] ^= (unsigned char)(1u << next() % 8); break;
            case 1: image[at] = (unsigned char)next(); break;
            default: {
                at &= ~(size_t)3;
                uint32_t value;
                memcpy(&value, image + at, 4);
                value = next() % 2 ? edges[next() % (sizeof edges / sizeof *edges)]
                                   : value + (uint32_t)(next() % 33) - 16u;
                memcpy(image + at, &value, 4);
            }
        }
    }
}

/* Three streams of two steps, with a workspace of exactly the size asked for. */
static void many(const csbrnn_model *model) {
    enum { COUNT = 3, STEPS = 2 };
    const size_t width = csbrnn_output_width(model), nbytes = csbrnn_many_nbytes(model, STEPS, COUNT);
    unsigned char *x = calloc(csbrnn_input_width(model) * STEPS, 4);
    void *memories[COUNT], *workspace = NULL;
    const void *xs[COUNT] = {x, x, x};
    float *ys[COUNT];
    if (nbytes > 1u << 24) {
        free(x);
        return;
    }
    for (size_t k = 0; k < COUNT; k++) {
        if (posix_memalign(memories + k, 64, csbrnn_memory_nbytes(model))) exit(99);
        csbrnn_init(model, memories[k]);
        ys[k] = malloc(STEPS * width * sizeof(float));
    }
    if (posix_memalign(&workspace, 64, nbytes)) exit(99);
    memset(workspace, 0xa5, nbytes);
    csbrnn_run_many(model, memories, xs, ys, STEPS, COUNT, workspace);
    csbrnn_step_many(model, memories, xs, ys, COUNT);
    for (size_t k = 0; k < COUNT; k++) free(memories[k]), free(ys[k]);
    free(x), free(workspace);
}

int main(int argc, char **argv) {
    size_t nbytes;
    if (argc != 4) return 96;
    unsigned char *original = read_file(argv[1], &nbytes), *image = read_file(argv[1], &nbytes);
    state = strtoul(argv[3], NULL, 10) * 2654435761u + 1;
    unsigned long refused = 0, run = 0;
    for (unsigned long n = strtoul(argv[2], NULL, 10); n > 0; n--) {
        memcpy(image, original, nbytes);
        mutate(image, nbytes);
        csbrnn_model model;
        if (csbrnn_open(&model, image, nbytes, csbrnn_isa((unsigned)(n % 3)))) {
            refused++;
            continue;
        }
        const size_t memory_nbytes = csbrnn_memory_nbytes(&model), steps = 2;
        const size_t workspace_nbytes = csbrnn_workspace_nbytes(&model, steps);
        const size_t x_nbytes = csbrnn_input_width(&model) * steps * 4;
        const size_t y_nbytes = csbrnn_output_width(&model) * steps * 4;
        if (memory_nbytes + workspace_nbytes + x_nbytes + y_nbytes > 1u << 24) continue;
        /* No slack: blocks of exactly the sizes that the library asks for. */
        void *memory = NULL, *workspace = malloc(workspace_nbytes);
        if (posix_memalign(&memory, 64, memory_nbytes)) return 99;
        unsigned char *x = calloc(x_nbytes, 1);
        float *y = malloc(y_nbytes);
        csbrnn_init(&model, memory);
        csbrnn_run(&model, memory, x, y, steps, workspace);
        many(&model);
        free(memory), free(workspace), free(x), free(y);
        run++;
    }
    free(original), free(image);
    printf("refused %lu run %lu\n", refused, run);
    return 0;
}
