/* The thread pool. Left out of single-threaded builds. */
#define _GNU_SOURCE /* syscall(), sched_getcpu() */
#include "csbrnn_pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#include "many.h"

/* How a thread waits: first it spins, for some microseconds, within which the parts of a step meet
 * without a system call; then it offers its core to others, since the thread it waits for may need
 * just that core (spinning on alone is a thousand times slower on shared cores: measured); then it
 * sleeps. */
#define SPINS 300
#define YIELDS 50

typedef struct { /* a number to wait on, alone on its cache line */
    _Alignas(64) _Atomic uint32_t value;
    _Atomic uint32_t sleepers;
#ifndef __linux__
    pthread_mutex_t mutex;
    pthread_cond_t changed;
#endif
} event;

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Returns once e->value is no longer `old`. */
static void event_wait(event *e, uint32_t old) {
    for (int k = 0; k < SPINS + YIELDS; k++) {
        if (atomic_load_explicit(&e->value, memory_order_acquire) != old) return;
        if (k < SPINS) relax();
        else sched_yield();
    }
    /* Both sequentially consistent: either we see the new value, or event_set sees a sleeper. */
    atomic_fetch_add(&e->sleepers, 1);
#ifdef __linux__
    while (atomic_load(&e->value) == old)
        syscall(SYS_futex, &e->value, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
#else
    pthread_mutex_lock(&e->mutex);
    while (atomic_load(&e->value) == old) pthread_cond_wait(&e->changed, &e->mutex);
    pthread_mutex_unlock(&e->mutex);
#endif
    atomic_fetch_sub(&e->sleepers, 1);
}

static void event_set(event *e, uint32_t value) {
    atomic_store(&e->value, value);
    if (atomic_load(&e->sleepers) == 0) return;
#ifdef __linux__
    syscall(SYS_futex, &e->value, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
#else
    pthread_mutex_lock(&e->mutex);
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->mutex);
#endif
}

struct csbrnn_pool {
    event call; /* counts calls */
    unsigned threads;
#ifdef __linux__
    int caller;        /* the caller's core, or -1 */
#endif
    int stop;
    pid_t process; /* threads do not survive a fork: the child runs alone */
    void (*run)(const void *task, const csbrnn_worker *worker);
    const void *task;
    uint32_t parts;
    struct member {
        event arrived; /* counts the times that this thread has come to where all meet */
        csbrnn_pool *pool;
        pthread_t thread;
        unsigned number;
#ifdef __linux__
        cpu_set_t allowed; /* cores that it could use, and what leave_callers_core() left of them */
        cpu_set_t left;
#endif
    } *members;
};

/* Everyone tells everyone: one transfer of a cache line between two cores, where a counter that all
 * increment takes three. That matters: a transfer takes 40 ns between near cores, 200 between far
 * ones (measured on Zen 4), and a step on two threads meets three times. */
static void arrive(void *context) {
    event *arrived = &((struct member *)context)->arrived;
    event_set(arrived, atomic_load_explicit(&arrived->value, memory_order_relaxed) + 1);
}

static void await(void *context) {
    const struct member *member = context;
    csbrnn_pool *pool = member->pool;
    const uint32_t now = atomic_load_explicit(&member->arrived.value, memory_order_relaxed);
    /* Another may be one round ahead, having seen us arrive. */
    for (unsigned k = 0; k < pool->threads; k++)
        if (k != member->number) event_wait(&pool->members[k].arrived, now - 1);
}

/* The caller, who is member 0, may not return, nor change the task, before all are done; the others
 * wait for nothing but the next call. */
static void work(struct member *member) {
    const csbrnn_pool *pool = member->pool;
    const uint32_t threads = pool->threads, up = threads - 1;
    /* Rounded up, so that member 0 alone begins with part 0, which is who moves inputs and outputs,
     * also where there are more threads than parts. */
    const csbrnn_worker worker = {(pool->parts * member->number + up) / threads,
                                  (pool->parts * (member->number + 1) + up) / threads, arrive,
                                  await, member};
    pool->run(pool->task, &worker);
    arrive(member);
    if (member->number == 0) await(member);
}

/* A thread that is woken often starts on the core of the one that woke it, and stays for some
 * milliseconds although others are idle: every meeting then costs a switch (measured, 2 threads: 49
 * us a step instead of 12). It had better leave. */
static void leave_callers_core(struct member *member) {
#ifdef __linux__
    const int caller = member->pool->caller;
    cpu_set_t now;
    if (caller < 0 || sched_getcpu() != caller || sched_getaffinity(0, sizeof now, &now)) return;
    /* What was not set here was set by someone who wants this thread to run there. */
    if (!CPU_EQUAL(&now, &member->left)) member->allowed = now;
    member->left = member->allowed;
    CPU_CLR((size_t)caller, &member->left);
    if (CPU_COUNT(&member->left) > 0) sched_setaffinity(0, sizeof now, &member->left);
#else
    (void)member;
#endif
}

static void *member_main(void *argument) {
    struct member *member = argument;
    csbrnn_pool *pool = member->pool;
    for (uint32_t call = 0;; call++) {
        event_wait(&pool->call, call);
        if (pool->stop) return NULL;
        leave_callers_core(member);
        work(member);
    }
}

static void event_init(event *e) {
    atomic_init(&e->value, 0);
    atomic_init(&e->sleepers, 0);
#ifndef __linux__
    pthread_mutex_init(&e->mutex, NULL);
    pthread_cond_init(&e->changed, NULL);
#endif
}

csbrnn_pool *csbrnn_pool_create(unsigned threads) {
    csbrnn_pool *pool;
    if (threads == 0 || threads > 256) return NULL;
    if (posix_memalign((void **)&pool, 64, sizeof *pool)) return NULL;
    memset(pool, 0, sizeof *pool);
    pool->process = getpid();
    event_init(&pool->call);
    if (posix_memalign((void **)&pool->members, 64, threads * sizeof *pool->members)) {
        free(pool);
        return NULL;
    }
    for (unsigned k = 0; k < threads; k++) {
        event_init(&pool->members[k].arrived);
        pool->members[k].pool = pool;
        pool->members[k].number = k;
#ifdef __linux__
        CPU_ZERO(&pool->members[k].left);
#endif
    }
    for (pool->threads = 1; pool->threads < threads; pool->threads++) {
        struct member *member = pool->members + pool->threads;
        if (pthread_create(&member->thread, NULL, member_main, member)) break;
    }
    if (pool->threads == threads) return pool;
    csbrnn_pool_destroy(pool);
    return NULL;
}

void csbrnn_pool_destroy(csbrnn_pool *pool) {
    if (!pool) return;
    pool->stop = 1;
    event_set(&pool->call, atomic_load(&pool->call.value) + 1);
    const int forked = pool->process != getpid();
    for (unsigned k = 1; k < pool->threads && !forked; k++) pthread_join(pool->members[k].thread, NULL);
#ifndef __linux__
    pthread_cond_destroy(&pool->call.changed), pthread_mutex_destroy(&pool->call.mutex);
    for (unsigned k = 0; k < pool->threads; k++) {
        event *e = &pool->members[k].arrived;
        pthread_cond_destroy(&e->changed), pthread_mutex_destroy(&e->mutex);
    }
#endif
    free(pool->members);
    free(pool);
}

/* Shares a task among all threads; it is the caller's until this returns. */
static void call(csbrnn_pool *pool, const csbrnn_model *model,
                 void (*run)(const void *, const csbrnn_worker *), const void *task) {
    pool->run = run;
    pool->task = task;
    pool->parts = csbrnn_header_of(model->image)->parts;
#ifdef __linux__
    pool->caller = sched_getcpu();
#endif
    event_set(&pool->call, atomic_load(&pool->call.value) + 1);
    work(pool->members);
}

csbrnn_error csbrnn_pool_run(csbrnn_pool *pool, const csbrnn_model *model, void *memory,
                             const void *xs, float *ys, size_t steps, void *workspace) {
    if (pool->threads == 1 || pool->process != getpid())
        return csbrnn_run(model, memory, xs, ys, steps, workspace);
    if (!workspace && csbrnn_workspace_nbytes(model, steps)) return CSBRNN_BAD_ARGUMENT;
    const csbrnn_task task = {model, memory, xs, ys, workspace, steps};
    csbrnn_error error = csbrnn_task_check(&task);
    if (error) return error;
    csbrnn_task_begin(&task);
    call(pool, model, csbrnn_task_run, &task);
    csbrnn_task_end(&task);
    return CSBRNN_OK;
}

csbrnn_error csbrnn_pool_step(csbrnn_pool *pool, const csbrnn_model *model, void *memory,
                              const void *x, float *y) {
    if (!csbrnn_header_of(model->image)->causal) return CSBRNN_NOT_CAUSAL;
    return csbrnn_pool_run(pool, model, memory, x, y, 1, NULL);
}

csbrnn_error csbrnn_pool_run_many(csbrnn_pool *pool, const csbrnn_model *model,
                                  void *const *memories, const void *const *xs, float *const *ys,
                                  size_t steps, size_t count, void *workspace) {
    if (pool->threads == 1 || pool->process != getpid())
        return csbrnn_run_many(model, memories, xs, ys, steps, count, workspace);
    const csbrnn_many_task task = {model, memories, xs, ys, steps, count, workspace};
    const csbrnn_error error = csbrnn_many_check(&task);
    if (!error) call(pool, model, csbrnn_many_run, &task);
    return error;
}
