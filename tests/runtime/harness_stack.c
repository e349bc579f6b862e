/* Bytes of stack that an export's init and step touch, from each alignment: on a painted one. */
#define _GNU_SOURCE
#include <alloca.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "model.h"

static _Alignas(64) unsigned char stack[1 << 16];
static const unsigned char paint = 0xa5;
static model_state state;
static model_input x[MODEL_INPUT_SIZE];
static float y[MODEL_OUTPUT_SIZE];
static unsigned shift;
static unsigned char *top;
static ucontext_t outside, inside;

/* Calls from a stack pointer that is moved by `shift` times 16 bytes, kept in `top`. */
#define FROM_TOP(call)                                                              \
    do {                                                                            \
        void *moved = alloca(16 * shift + 16);                                      \
        __asm__ volatile("mov %%rsp, %0" : "=r"(top) : "r"(moved) : "memory");      \
        if (call) printf("failed ");                                                \
    } while (0)

static void init(void) { FROM_TOP(model_init(&state)); }
static void step(void) { FROM_TOP(model_step(&state, INPUT, y)); }

static void measure(void (*function)(void)) {
    const unsigned char *low = stack;
    memset(stack, paint, sizeof stack);
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = sizeof stack;
    inside.uc_link = &outside;
    makecontext(&inside, function, 0);
    swapcontext(&outside, &inside);
    while (*low == paint) low++;
    printf("%d ", (int)(top - low));
}

int main(void) {
    for (shift = 0; shift < 4; shift++) {
        measure(init);
        measure(step);
    }
    return 0;
}
