/* Measures read bandwidth: the floor of every step is its weights' bytes divided by this. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "binding.h"

/* As the engine's weights have them: see buffers.py. */
#define LARGE_PAGE ((size_t)2 << 20)
#define LARGE_FROM (LARGE_PAGE / 4)

/* What all threads share. They begin when all of them are there, or not at all. */
typedef struct {
    pthread_mutex_t creation; /* held while threads are being created */
    int complete;             /* whether all could be */
    unsigned threads;
    pthread_mutex_t start; /* of a round: guards what follows. macOS has no pthread_barrier_t */
    pthread_cond_t begun;
    unsigned waiting, rounds;
} team;

typedef struct {
    pthread_t thread;
    team *team;
    const uint64_t *data;
    size_t nbytes;
    unsigned repeats;
    double *seconds; /* of each round, of this thread */
    uint64_t sum;    /* so that nothing is optimised away */
} reader;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef uint64_t line __attribute__((vector_size(64), aligned(64)));

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx512f", "avx2", "default"))) /* widest loads, chosen when loaded */
#endif
static uint64_t read_all(const uint64_t *data, size_t lines) {
    const line *p = (const line *)(const void *)data;
    line sum[8] = {{0}}; /* eight chains, to have enough loads under way */
    for (size_t k = 0; k + 8 <= lines; k += 8)
        for (unsigned u = 0; u < 8; u++) sum[u] ^= p[k + u];
    for (unsigned u = 1; u < 8; u++) sum[0] ^= sum[u];
    return sum[0][0] ^ sum[0][7];
}

/* Returns when all threads have come. */
static void meet(team *t) {
    pthread_mutex_lock(&t->start);
    const unsigned round = t->rounds;
    if (++t->waiting == t->threads) {
        t->waiting = 0;
        t->rounds++;
        pthread_cond_broadcast(&t->begun);
    }
    while (round == t->rounds) pthread_cond_wait(&t->begun, &t->start);
    pthread_mutex_unlock(&t->start);
}

static void *reader_main(void *argument) {
    reader *r = argument;
    pthread_mutex_lock(&r->team->creation);
    const int complete = r->team->complete;
    pthread_mutex_unlock(&r->team->creation);
    for (unsigned k = 0; complete && k < r->repeats; k++) {
        meet(r->team);
        /* Several rounds over small buffers: 1 ms at least, against the clock's resolution. */
        size_t rounds = 1 + ((size_t)64 << 20) / (r->nbytes + 1);
        double begin = now();
        for (size_t n = 0; n < rounds; n++) r->sum += read_all(r->data, r->nbytes / 64) + n;
        r->seconds[k] = (now() - begin) / (double)rounds;
    }
    return NULL;
}

double csbrnn_read_bandwidth(size_t nbytes, unsigned repeats, unsigned threads) {
    double best = 0, *seconds = NULL;
    team team = {.creation = PTHREAD_MUTEX_INITIALIZER, .threads = threads,
                 .start = PTHREAD_MUTEX_INITIALIZER, .begun = PTHREAD_COND_INITIALIZER};
    if (threads == 0 || threads > 256 || repeats == 0 || nbytes < 512) return 0;
    reader *readers = calloc(threads, sizeof *readers);
    seconds = calloc((size_t)threads * repeats, sizeof *seconds);
    unsigned ready = 0;
    nbytes = (nbytes + 511) / 512 * 512;
    for (; readers && seconds && ready < threads; ready++) {
        void *data;
        const size_t whole = (nbytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
        if (posix_memalign(&data, LARGE_PAGE, whole)) break;
#ifdef MADV_HUGEPAGE
        if (nbytes >= LARGE_FROM) madvise(data, whole, MADV_HUGEPAGE);
#endif
        memset(data, 1, nbytes);
        readers[ready] = (reader){.team = &team, .data = data, .nbytes = nbytes,
                                  .repeats = repeats, .seconds = seconds + ready * repeats};
    }
    if (readers && seconds && ready == threads) {
        unsigned running = 1;
        pthread_mutex_lock(&team.creation);
        while (running < threads &&
               !pthread_create(&readers[running].thread, NULL, reader_main, readers + running))
            running++;
        team.complete = running == threads;
        pthread_mutex_unlock(&team.creation);
        reader_main(readers);
        for (unsigned k = 1; k < running; k++) pthread_join(readers[k].thread, NULL);
        for (unsigned k = 0; team.complete && k < repeats; k++) {
            double slowest = 0;
            for (unsigned t = 0; t < threads; t++)
                if (readers[t].seconds[k] > slowest) slowest = readers[t].seconds[k];
            double rate = (double)nbytes * threads / slowest;
            if (rate > best) best = rate;
        }
    }
    for (unsigned k = 0; k < ready; k++) free((void *)(uintptr_t)readers[k].data);
    free(readers);
    free(seconds);
    return best;
}
