/* count IMAGE THREADS CONTROL: calls made during steps which a step must not make. Linked with
 * -Wl,--wrap for each of them, so that every call from our object files is seen. With CONTROL 1
 * the program makes one of each itself: the counter must see them. */
#include "harness.h"

#include <pthread.h>
#include <sys/mman.h>

static int counting;
static unsigned long calls;

#define WRAP(type, name, parameters, arguments) \
    type __real_##name parameters;              \
    type __wrap_##name parameters {             \
        calls += (unsigned long)counting;       \
        return __real_##name arguments;         \
    }
WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, calloc, (size_t n, size_t m), (n, m))
WRAP(void *, realloc, (void *p, size_t n), (p, n))
WRAP(void, free, (void *p), (p))
WRAP(int, posix_memalign, (void **p, size_t a, size_t n), (p, a, n))
WRAP(void *, aligned_alloc, (size_t a, size_t n), (a, n))
WRAP(void *, mmap, (void *p, size_t n, int a, int b, int c, off_t d), (p, n, a, b, c, d))
WRAP(int, pthread_mutex_lock, (pthread_mutex_t *m), (m))
WRAP(int, pthread_cond_wait, (pthread_cond_t *c, pthread_mutex_t *m), (c, m))
WRAP(int, pthread_create,
     (pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *p), (t, a, f, p))

static void control(void) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    void *volatile p = malloc(1);
    free(p);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
}

int main(int argc, char **argv) {
    size_t nbytes;
    if (argc != 4) return 96;
    unsigned char *image = read_file(argv[1], &nbytes);
    const unsigned threads = (unsigned)strtoul(argv[2], NULL, 10);
    for (unsigned k = 0; csbrnn_isa(k); k++) {
        csbrnn_model model;
        if (csbrnn_open(&model, image, nbytes, csbrnn_isa(k))) return 1;
        void *memory = line_alloc(csbrnn_memory_nbytes(&model));
        void *x = line_alloc(4 * csbrnn_input_width(&model));
        float *y = line_alloc(4 * csbrnn_output_width(&model));
        enum { COUNT = 3, STEPS = 5 };
        void *memories[COUNT], *space = line_alloc(csbrnn_many_nbytes(&model, STEPS, COUNT));
        void *long_x = line_alloc(4 * STEPS * csbrnn_input_width(&model));
        const void *xs[COUNT] = {long_x, long_x, long_x};
        float *ys[COUNT];
        for (int k = 0; k < COUNT; k++) {
            memories[k] = line_alloc(csbrnn_memory_nbytes(&model));
            ys[k] = line_alloc(4 * STEPS * csbrnn_output_width(&model));
        }
        csbrnn_pool *pool = threads > 1 ? csbrnn_pool_create(threads) : NULL;
        csbrnn_init(&model, memory);
        counting = 1;
        for (int t = 0; t < 10; t++) {
            csbrnn_error error = pool ? csbrnn_pool_step(pool, &model, memory, x, y)
                                      : csbrnn_step(&model, memory, x, y);
            if (error) return 2;
        }
        for (size_t steps = 1; steps <= STEPS; steps++)
            if (pool ? csbrnn_pool_run_many(pool, &model, memories, xs, ys, steps, COUNT, space)
                     : csbrnn_run_many(&model, memories, xs, ys, steps, COUNT, space))
                return 3;
        if (*argv[3] == '1') control();
        counting = 0;
        csbrnn_pool_destroy(pool);
        free(memory), free(x), free(y), free(space), free(long_x);
        for (int k = 0; k < COUNT; k++) free(memories[k]), free(ys[k]);
    }
    printf("%lu\n", calls);
    free(image);
    return 0;
}
